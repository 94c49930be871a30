"""The layers that a student starts from: of the teacher, of a checkpoint, or those of its own configuration."""

from pipeline.config.methods import METHODS
from pipeline.config.training import TrainStudentConfig
from pipeline.distillation.layer_map import layer_numbers, student_depth
from pipeline.distillation.student_config import read_student_config
from pipeline.errors import BadOption
from pipeline.models.checkpoints import load_config, locate
from pipeline.models.encoders import depth_of, first_layers

TEACHER, RANDOM = "teacher", "random"  # values of --init that are not checkpoints


def initial_layers(config: TrainStudentConfig, teacher_depth: int) -> tuple[int, ...]:
    """Return the numbers of the layers that student layers 1..N start from, in what --init names.

    N is their count. Raises `BadOption` for options that contradict each other or the teacher.
    """
    _check_student_config(config)
    if not teacher_depth and config.init == TEACHER:
        method = " --method kd" if METHODS[config.method].matches_layers else ""
        raise BadOption(
            f"the targets of this cache were made elsewhere: it has no teacher to start from. Use --init MODEL{method}"
        )
    if config.init == RANDOM:
        return first_layers(_configured_depth(config))
    if config.init_layers is None:
        depth = config.student_layers
        if not depth and teacher_depth:
            depth = student_depth(None, teacher_depth)
        elif not depth:
            depth = depth_of(load_config(locate(config.init)))
        return first_layers(student_depth(depth, teacher_depth) if config.init == TEACHER else depth)
    layers = layer_numbers("--init-layers", config.init_layers)
    if config.student_layers not in (None, len(layers)):
        raise BadOption(
            f"--init-layers {config.init_layers} makes a student of {len(layers)} layers, and --student-layers says "
            f"{config.student_layers}. Leave --student-layers out"
        )
    if config.init == TEACHER:
        check_within(config.init_layers, layers, "the teacher", teacher_depth)
    return layers


def check_within(text: str, layers: tuple[int, ...], source: str, depth: int) -> None:
    """Raise `BadOption` for a layer that a model of `depth` layers, called `source`, does not have."""
    for layer in layers:
        if not 1 <= layer <= depth:
            raise BadOption(
                f"--init-layers {text}: {source} does not have a layer {layer}. Use layers from 1 to {depth}"
            )


def _check_student_config(config: TrainStudentConfig) -> None:
    if config.init == RANDOM and config.student_config is None:
        raise BadOption("--init random needs --student-config FILE, the config.json of the student")
    if config.init != RANDOM and config.student_config is not None:
        raise BadOption(
            f"--student-config is for a student with new weights, and this one starts from {config.init}. Add --init "
            "random, or leave --student-config out"
        )


def _configured_depth(config: TrainStudentConfig) -> int:
    """Return the number of layers of the configuration of a student with new weights."""
    if config.init_layers is not None:
        raise BadOption("--init-layers needs layers to start from, and --init random has none. Leave it out")
    assert config.student_config is not None
    depth = depth_of(read_student_config(config.student_config))
    if config.student_layers not in (None, depth):
        raise BadOption(
            f"--student-config {config.student_config} has {depth} layers, and --student-layers says "
            f"{config.student_layers}. Leave --student-layers out"
        )
    return depth
