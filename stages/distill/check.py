"""Checks of `distill` before its first step, so that nothing is trained in vain."""

from functools import partial

from pipeline.config.distill import DistillConfig
from pipeline.data.rows.sources import load_rows
from pipeline.data.splits import selection_split
from pipeline.data.tasks import TRAIN
from pipeline.errors import BadOption, MissingExtra
from pipeline.models.checkpoints import load_config, locate
from pipeline.models.encoders import depth_of
from pipeline.system.progress import quiet
from pipeline.teacher.locate import find_teacher, teachers_classes

DEMO = "demo"


def chosen_model(config: DistillConfig) -> str | None:
    """Return the encoder to fine-tune, None with a --teacher. Raises `BadOption` where one has to be named."""
    if config.teacher is not None:
        return None
    if config.model is None:
        try:
            locate(DEMO)
        except MissingExtra as error:
            raise BadOption(
                "no teacher, and no encoder to make one of: name one, for example --model bert-base-uncased, or a "
                f"--teacher ({error})"
            ) from error
    return config.model or DEMO


def check_rows(config: DistillConfig, model: str | None) -> int:
    """Return the number of training rows with a label.

    Raises a `DistillError` for rows that cannot be used or lack dev rows, and for a student deeper than its teacher.
    """
    teachers = partial(teachers_classes, config, config.teacher, config.revision) if config.teacher else None
    with quiet():  # the steps say it
        rows = load_rows(config, teachers=teachers)
    if selection_split(rows.splits) is None:
        raise BadOption(
            "there are no labelled dev rows to choose the best student by. Give --dev-file, or --dev-fraction 0.1 for "
            "a part of the training rows"
        )
    name = locate(model) if model else find_teacher(rows.task, config, config.teacher, config.revision)
    depth = depth_of(load_config(name, config.revision))
    if config.student_layers is not None and config.student_layers > depth:
        raise BadOption(
            f"--student-layers {config.student_layers}: the teacher has {depth} layers. Give at most "
            f"--student-layers {depth}"
        )
    labelled = int(rows.task.kind.has_label(rows.splits[TRAIN].labels).sum())
    if model and not labelled:
        rows.labelled()  # says so
    return labelled
