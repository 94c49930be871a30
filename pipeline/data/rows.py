"""The rows of a task: texts and labels of each split, read from files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.data.tables import read_table
from pipeline.data.tasks import TASKS, TEST, Task
from pipeline.errors import BadRows

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


def read_split(
    path: Path,
    task: Task,
    columns: tuple[str, ...],
    label_column: str,
    role: str,
    *,
    header: bool = True,
    broken_rows: bool = False,
) -> SplitRows:
    """Return the rows of a file as a split. Raises `BadRows`, naming the line, for a row that the task cannot use."""
    texts: tuple[list[str], ...] = tuple([] for _ in columns)
    labels: list[float] = []
    labelled = True
    for number, row in read_table(path, header=header, skip_broken=broken_rows):
        if not labels:
            labelled = label_column in row or role != TEST
            check_columns(path, row, (*columns, label_column) if labelled else columns, task.name in TASKS)
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


def check_columns(path: Path, row: dict[str, str], wanted: tuple[str, ...], official: bool = False) -> None:
    """Raise `BadRows` unless a row has these columns; an `official` file has columns of its own."""
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
