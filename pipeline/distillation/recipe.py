"""What makes a student's run: its canonical configuration, what of the cache it reads, and what it starts from."""

from typing import Any

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.reader import Cache
from pipeline.cache.teacher_files import student_from_bundle
from pipeline.config.training import TrainStudentConfig
from pipeline.data.splits import Split
from pipeline.data.tasks import TRAIN
from pipeline.distillation.layer_map import resolve_layer_map, student_depth
from pipeline.distillation.losses import Objective
from pipeline.errors import BadCache, BadModel, BadOption, shell_line
from pipeline.models.accelerator import resolve_precision
from pipeline.models.checkpoints import load_classifier, load_config, load_tokenizer, locate
from pipeline.models.encoders import depth_of
from pipeline.system.digests import config_digest, json_digest, tokenizer_digest, weights_digest


def canonical(config: TrainStudentConfig, manifest: Manifest) -> dict[str, Any]:
    """The configuration with its defaults resolved and without what has no meaning for its method: null there.

    Raises `BadOption` for layers that do not fit the cache.
    """
    depth = student_depth(config.student_layers, manifest.model.depth)
    method, layers = resolve_layer_map(
        config.method, config.teacher_layers, depth, manifest.model.depth, manifest.layers
    )
    values = config.identity_options() | {
        "method": method,
        "student_layers": depth,
        "teacher_layers": list(layers) or None,
        "precision": resolve_precision(config.precision),
    }
    meaningless = []
    if method == "ft":
        meaningless += ["temperature", "alpha", "beta", "reduction"]
    elif method == "kd":
        meaningless += ["beta"]
    if manifest.task.labels is None:
        meaningless += ["temperature"] + ["reduction"] * (method == "kd")
    return values | dict.fromkeys(meaningless)


def training_split(cache: Cache, location: str) -> Split:
    """Raises `BadCache` for a cache that holds no labelled one."""
    train = cache.splits.get(TRAIN)
    if train is None or not train.labelled:
        raise BadCache(f"{location} has no labelled training split. Cache one with --train-file")
    return train


def check_identity(config: TrainStudentConfig, identity: str) -> None:
    expected = config.expect_identity or ""
    if len(expected) < 12 or not identity.startswith(expected.lower()):
        raise BadCache(
            f"{config.cache} has the identity {identity}, not {expected or 'an empty one'} (12 digits or more). "
            f"See what it is: {shell_line('cache', 'info', config.cache)}"
        )


def objective(settings: dict[str, Any]) -> Objective:
    """The loss of a canonical configuration; what has no meaning there has no weight here."""
    return Objective(
        settings["alpha"] or 0.0,
        (settings["beta"] or 0.0) if settings["teacher_layers"] else 0.0,
        settings["temperature"] or 1.0,
        settings["reduction"] or "reference",
        tuple(settings["teacher_layers"] or ()),
    )


def default_out(task: str, settings: dict[str, Any], inputs: dict[str, str]) -> str:
    """The run directory of a configuration that names none."""
    digest = json_digest([settings, inputs])[:8]
    return f"runs/{task}/{settings['method']}-{settings['student_layers']}-{digest}"


def initial_student(init: str, cache: Cache, layers: int, method: str) -> tuple[Any, dict[str, str]]:
    """The student before training, and the digest of where it starts from unless that is the cache's teacher."""
    if init == "teacher":
        return student_from_bundle(cache.teacher, layers, cache.manifest.model.depth), {}
    model_record, task = cache.manifest.model, cache.manifest.task
    name = locate(init)
    config = load_config(name)
    if depth_of(config) < layers:
        raise BadModel(f"--init {init} has only {depth_of(config)} layers. Try --student-layers {depth_of(config)}")
    if tokenizer_digest(load_tokenizer(name)) != tokenizer_digest(load_tokenizer(str(cache.teacher))):
        raise BadModel(
            f"--init {init} has another tokenizer than the teacher, so its tokens mean something else. "
            "Start from a checkpoint with the teacher's tokenizer"
        )
    if method.startswith("pkd") and config.hidden_size != model_record.hidden:
        raise BadOption(
            f"--init {init} is {config.hidden_size} wide and the teacher {model_record.hidden}: their [CLS] vectors "
            "cannot be compared. Use --method kd"
        )
    model = load_classifier(name, classes=model_record.classes, labels=task.labels, layers=layers)
    return model, {"init": weights_digest(model.state_dict()), "init_config": config_digest(model.config)}
