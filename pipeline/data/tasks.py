"""The table of tasks: columns, labels, metrics, splits, and the places of their rows and published teachers.

GLUE: Wang et al., 2019, https://gluebenchmark.com; label order and splits as in the hub data set `nyu-mll/glue`.
"""

import re
from dataclasses import dataclass, replace

from pipeline.data.kinds.multiple_choice import choice_names
from pipeline.data.metrics import OF_CLASS
from pipeline.data.task_kinds import MULTIPLE_CHOICE, REGRESSION, SINGLE_LABEL, TaskKind
from pipeline.errors import BadOption
from pipeline.models.checkpoints import Head

TASK_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # it names directories
TRAIN, DEV, TEST = "train", "dev", "test"
TRANSFER = "transfer"  # examples without labels, for the teacher's targets


def role_of(split: str) -> str:
    """Return train, dev or test: `dev_matched` is a dev split."""
    return split.partition("_")[0]


@dataclass(frozen=True)
class SplitSource:
    """The place of one split: its name on the hub and its file in the official GLUE layout."""

    name: str
    hub: str
    file: str

    @property
    def role(self) -> str:
        """Train, dev or test."""
        return role_of(self.name)


@dataclass(frozen=True)
class Task:
    """A task: where its rows are and what is asked about them. `labels` are the names of classes 0..C-1."""

    name: str
    text_columns: tuple[str, ...]  # as the hub calls them
    labels: tuple[str, ...]  # empty where the kind does not have classes
    metrics: tuple[str, ...]  # the first decides which weights are kept
    kind: TaskKind = SINGLE_LABEL
    splits: tuple[SplitSource, ...] = ()
    hub: tuple[str, str] | None = None  # data set, configuration
    file_columns: tuple[str, ...] = ()  # text columns in the official files; a number where a file has no header
    file_label: str = "label"
    headerless: tuple[str, ...] = ()  # splits whose file lacks a header: columns are called 0, 1, 2, …
    broken_rows: bool = False  # the published files are known to hold a few unreadable or empty rows
    published_teacher: str | None = None
    published_labels: tuple[str, ...] | None = None  # its classes in order, where they are not the task's
    choices_column: str | None = None  # of the lists of choices, as the hub calls it
    levels: tuple[str, ...] = ()  # of the exams of RACE: the folders of its files

    @property
    def num_logits(self) -> int:
        """C, the size of the head."""
        return self.kind.num_logits(self.labels)

    @property
    def head(self) -> Head:
        """The head of a model for this task."""
        return head_of(self.kind, self.labels)

    def with_labels(self, labels: tuple[str, ...]) -> "Task":
        """Return the task with its classes in another order; metrics of class 1 stay metrics of that class."""
        metrics = self.metrics
        if self.num_logits == 2 and labels != self.labels:
            metrics = tuple(f"{name}:{self.labels[1]}" if name in OF_CLASS else name for name in metrics)
        return replace(self, labels=labels, metrics=metrics)


def head_of(kind: TaskKind, labels: tuple[str, ...]) -> Head:
    """Return the head of a model for a task of this kind with these labels."""
    size = kind.num_logits(labels)
    return Head(size, labels, kind.problem_type, kind.settings, kind.sequences(size) > 1)


_SPLITS = (
    SplitSource("train", "train", "train.tsv"),
    SplitSource("dev", "validation", "dev.tsv"),
    SplitSource("test", "test", "test.tsv"),
)
_MNLI_SPLITS = (
    SplitSource("train", "train", "train.tsv"),
    SplitSource("dev_matched", "validation_matched", "dev_matched.tsv"),
    SplitSource("dev_mismatched", "validation_mismatched", "dev_mismatched.tsv"),
    SplitSource("test_matched", "test_matched", "test_matched.tsv"),
    SplitSource("test_mismatched", "test_mismatched", "test_mismatched.tsv"),
)
_PAIR = ("sentence1", "sentence2")
_ACCURACY = ("accuracy",)


def _glue(
    name: str,
    teacher: str,
    columns: tuple[str, ...],
    labels: tuple[str, ...],
    metrics: tuple[str, ...] = _ACCURACY,
    kind: TaskKind = SINGLE_LABEL,
    splits: tuple[SplitSource, ...] = _SPLITS,
    file_columns: tuple[str, ...] = (),
    file_label: str = "label",
    headerless: tuple[str, ...] = (),
    broken_rows: bool = False,
    published_labels: tuple[str, ...] | None = None,
) -> Task:
    return Task(
        name,
        columns,
        labels,
        metrics,
        kind,
        splits,
        ("nyu-mll/glue", name),
        file_columns or columns,
        file_label,
        headerless,
        broken_rows,
        f"textattack/bert-base-uncased-{teacher}",
        published_labels,
    )


def _race(name: str, configuration: str, levels: tuple[str, ...]) -> Task:
    return Task(
        name,
        ("article", "question"),
        choice_names(4),
        _ACCURACY,
        MULTIPLE_CHOICE,
        tuple(replace(split, file=split.name) for split in _SPLITS),
        ("ehovy/race", configuration),
        file_label="answer",
        choices_column="options",
        levels=levels,
    )


_ENTAILMENT = ("entailment", "not_entailment")
TASKS = {
    task.name: task
    for task in (
        _glue(
            "cola",
            "CoLA",
            ("sentence",),
            ("unacceptable", "acceptable"),
            ("matthews_correlation",),
            file_columns=("3",),
            file_label="1",
            headerless=("train", "dev"),
        ),
        _glue("sst2", "SST-2", ("sentence",), ("negative", "positive")),
        _glue(
            "mrpc",
            "MRPC",
            _PAIR,
            ("not_equivalent", "equivalent"),
            ("f1", "accuracy"),
            file_columns=("#1 String", "#2 String"),
            file_label="Quality",
        ),
        _glue("stsb", "STS-B", _PAIR, (), ("pearson", "spearman"), REGRESSION, file_label="score"),
        _glue(
            "qqp",
            "QQP",
            ("question1", "question2"),
            ("not_duplicate", "duplicate"),
            ("f1", "accuracy"),
            file_label="is_duplicate",
            broken_rows=True,
        ),
        _glue(
            "mnli",
            "MNLI",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            splits=_MNLI_SPLITS,
            file_columns=_PAIR,
            file_label="gold_label",
            # TextAttack's own table maps its outputs so (textattack/model_args.py and dataset_args.py)
            published_labels=("contradiction", "entailment", "neutral"),
        ),
        _glue("qnli", "QNLI", ("question", "sentence"), _ENTAILMENT),
        _glue("rte", "RTE", _PAIR, _ENTAILMENT),
        _glue("wnli", "WNLI", _PAIR, ("not_entailment", "entailment")),
        Task("movie-reviews", ("text",), ("negative", "positive"), _ACCURACY),
        _race("race", "all", ("middle", "high")),
        _race("race-middle", "middle", ("middle",)),
        _race("race-high", "high", ("high",)),
    )
}


def find_task(name: str) -> Task:
    """Return the task of the table with this name. Raises `BadOption` for another."""
    if name in TASKS:
        return TASKS[name]
    raise BadOption(
        f"there is no task {name!r}. Use one of {', '.join(TASKS)}, or name your own rows with "
        "--train-file, --dev-file, --text-columns and --label-column"
    )
