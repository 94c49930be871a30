"""The options of `distill`."""

import re
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.config.options import GO_ON, option, option_name, values_of
from pipeline.config.rows import CacheRowsConfig
from pipeline.config.shared import class_weights_option, precision_option, revision_option, seed_option
from pipeline.errors import BadOption

AUTO = "auto"
EXPORTS = ("onnx-int8", "onnx", "safetensors")
MOST_TRIALS = 8


def _task_of_rows(config: "DistillConfig") -> str | None:
    """Return a name for the task of own rows: `reviews` for reviews.csv, reviews-train.csv and reviews/train.csv.

    It is made of that of the first file of training rows, or of the data set; None without any.
    """
    places = values_of(config.train_file) or values_of(config.dataset and config.dataset.partition(":")[0])
    if not places:
        return None
    path = PurePath(str(places[0]))
    names = (re.sub(r"[^A-Za-z0-9_]+", "-", name) for name in (path.name.partition(".")[0], path.parent.name))
    names = (re.sub(r"(^|[-_])train(ing)?[-_]*$", "", name).strip("-_") for name in names)
    return next((name for name in names if name), "rows")


@dataclass(frozen=True, kw_only=True)
class DistillConfig(CacheRowsConfig):
    """Distil on your own rows, from the teacher to a student that people use.

    Fine-tunes a teacher unless one is named, caches it, trains a few students, exports the best, and
    writes a report. Each
    step is a command of its own, which is printed as you would type it. What is finished is kept and used again: stop
    at any time, and run the same command to go on.

    The best student is the best on dev rows, so its score there is a little too high. Give test rows (--test-file),
    and it is measured on them once, at the end.
    """

    after_stop = GO_ON

    task: str = option(
        None,
        help="name of the task, of which its directories get theirs  [default: the name of the training file]",
        group="Rows",
        default_from=_task_of_rows,
    )
    model: str | None = option(
        None,
        help="pre-trained encoder to fine-tune: a hub name, a local directory, or demo (the packaged six-layer BERT)  "
        "[default: demo, where it is installed]",
        group="Teacher",
    )
    teacher: str | None = option(
        None,
        help="teacher to distil in its place: its run directory, any hub-style directory, or a hub name",
        group="Teacher",
        metavar="DIR",
    )
    revision: str | None = revision_option("Teacher")
    label_map: str | None = option(
        None,
        help="class names in the order of the outputs of --teacher, or as JSON {teacher's name: task's name}, if its "
        "configuration has none or wrong ones",
        group="Teacher",
        metavar="A,B,…|JSON",
    )
    allow_weak_teacher: bool = option(
        False,
        help="accept a teacher that is not better than always predicting the most frequent label",
        group="Teacher",
        affects_result=False,
    )
    student_layers: int | None = option(
        None, help="number of student layers  [default: half the teacher's]", group="Distillation", low=1
    )
    budget_ms: float | None = option(
        None,
        help="in place of --student-layers: the most layers with which one example takes less than this many "
        "milliseconds here, measured in torch, float32, on a training row that is longer than 95 % of them",
        group="Distillation",
        above=0,
    )
    trials: int = option(
        MOST_TRIALS,
        help="number of students to train: FT, KD and PKD-Skip, then these at twice the learning rate, then others",
        group="Search",
        low=1,
        high=MOST_TRIALS,
    )
    epochs: float | None = option(
        None,
        help="passes over the training rows in each training  [default: 3 for the teacher, 4 for students, up to 20 "
        "where there are few rows]",
        group="Training",
        above=0,
    )
    class_weights: str = class_weights_option()
    max_steps: int = option(
        0, help="maximum number of optimizer steps of each training; 0: no limit", group="Limits", low=0
    )
    precision: str = precision_option()
    seed: int = seed_option("seed of new weights and of dropout")
    cache: str | None = option(
        None, help="cache directory to write  [default: data/TASK, below --out]", group="Cache", metavar="DIR"
    )
    format: str = option(
        AUTO,
        help="form in which the best student is exported; auto: onnx-int8, or safetensors where that is not installed "
        "or does not compute what the student does",
        group="Output",
        choices=(AUTO, *EXPORTS),
    )
    out: str | None = option(
        None,
        help="directory to write everything below  [default: runs/, data/, sweeps/, exports/ and reports/ here]",
        group="Output",
        metavar="DIR",
        affects_result=False,
    )

    def __post_init__(self) -> None:
        """Check what belongs together, beside each value. Raises `BadOption`."""
        super().__post_init__()
        if self.task is None:
            raise BadOption(
                "no rows to train on: give --train-file FILE --text-columns A --label-column C, or a --task of the "
                "program, for example movie-reviews"
            )
        for a, b, reason in (
            ("student_layers", "budget_ms", "both say how deep the student is"),
            ("model", "teacher", "--model is fine-tuned to be the teacher, and --teacher is one already"),
        ):
            if getattr(self, a) is not None and getattr(self, b) is not None:
                raise BadOption(f"{option_name(a)} and {option_name(b)}: {reason}. Leave one of them out")
        if self.label_map and not self.teacher:
            raise BadOption("--label-map is for a --teacher that you name. Leave it out")
