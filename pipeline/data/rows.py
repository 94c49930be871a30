"""The rows of a task: texts and labels of each split."""

from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.data.cells import Cell
from pipeline.data.columns import Wanted
from pipeline.data.faults import Faults
from pipeline.data.kinds.task_kind import UNLABELLED
from pipeline.data.places import name_of
from pipeline.data.tables import Row, read_table
from pipeline.data.tasks import TEST, Task
from pipeline.errors import BadRows, one_line


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split: `texts` has one list per text column; `labels` [n] in the type of the task's kind."""

    texts: tuple[list[str], ...]
    labels: np.ndarray
    labelled: bool  # else every label is -1

    @property
    def sequences(self) -> int:
        """S, the number of inputs of an example."""
        return 1

    def inputs(self, start: int, stop: int) -> list[list[str]]:
        """Return the texts of rows start..stop-1 as a tokenizer takes them."""
        return [column[start:stop] for column in self.texts]

    def __len__(self) -> int:
        return len(self.labels)

    def taken(self, rows: np.ndarray) -> "SplitRows":
        """Return these rows, in this order."""
        return replace(
            self, texts=tuple([column[row] for row in rows] for column in self.texts), labels=self.labels[rows]
        )

    def relabelled(self, old: tuple[str, ...], new: tuple[str, ...]) -> "SplitRows":
        """Return the rows with the classes of `old` numbered as in `new`, the same names in another order."""
        if old == new:
            return self
        if self.labels.ndim == 2:  # a column for each class
            return replace(self, labels=np.ascontiguousarray(self.labels[:, [old.index(label) for label in new]]))
        numbers = np.array([new.index(label) for label in old] + [UNLABELLED])  # the last one serves index -1
        return replace(self, labels=numbers[self.labels])


@dataclass(frozen=True)
class TaskRows:
    """A task and its splits in order train, dev…, test…; `origin` says where they came from."""

    task: Task
    splits: dict[str, SplitRows]
    origin: str

    @property
    def texts(self) -> int:
        """The number of texts that a tokenizer gets for an input: 1, or 2 for pairs."""
        return max(len(part.inputs(0, 1)) for part in self.splits.values())


@dataclass(frozen=True, kw_only=True)
class RawSplit:
    """The rows of one split as their files have them, before a label has a meaning.

    `places` has (file, number of its first row among these) for each file, `numbers` the line of each row in its file.
    """

    texts: tuple[list[str], ...]  # a list for each text column
    labels: list[Cell]  # null where the label, or its column, is missing
    numbers: list[int]
    places: list[tuple[str, int]]
    unit: str = "line"  # what `numbers` count: the rows of a data set have no lines
    classes: tuple[str, ...] = ()  # the names of the classes, in order, where the source has them
    choices: list[tuple[Cell, ...]] = field(default_factory=list)  # of each question, in a multiple-choice task

    def __len__(self) -> int:
        return len(self.labels)

    def place(self, row: int) -> tuple[str, int]:
        """Return the file and the line of a row."""
        return next(place for place, first in reversed(self.places) if first <= row), self.numbers[row]

    def faults(self) -> Faults:
        """Return a collection of faults in these rows; `add(kind, *split.place(row), fact)` adds one."""
        return Faults(self.unit)

    def taken(self, rows: np.ndarray) -> "RawSplit":
        """Return these rows (numbers in rising order)."""
        starts = np.searchsorted(rows, [first for _, first in self.places])
        places = [(place, int(start)) for (place, _), start in zip(self.places, starts, strict=True)]
        texts = tuple([column[row] for row in rows] for column in self.texts)
        labels, numbers = ([values[row] for row in rows] for values in (self.labels, self.numbers))
        choices = [self.choices[row] for row in rows] if self.choices else []
        return replace(self, texts=texts, labels=labels, numbers=numbers, places=places, choices=choices)


@dataclass
class Gathering:
    """The rows of a split while they are read, from one file after the other."""

    text_columns: tuple[str, ...]
    choices_columns: tuple[str, ...] = ()
    unit: str = "line"
    blank_rows: bool = False  # pass over rows without any text instead of counting them as faults
    faults: Faults = field(init=False)

    def __post_init__(self) -> None:
        self.faults = Faults(self.unit)
        self._blank = Faults(self.unit)  # named last: a missing column explains them, too
        self.texts: tuple[list[str], ...] = tuple([] for _ in self.text_columns)
        self.labels: list[Cell] = []
        self.numbers: list[int] = []
        self.places: list[tuple[str, int]] = []
        self.choices: list[tuple[Cell, ...]] = []

    def begin(self, place: str) -> None:
        """Begin with another file."""
        self.places.append((place, len(self.labels)))

    def add(self, row: Row) -> None:
        """Add a row: the cells of its text columns, of its choices, and its label; half of a pair may be empty."""
        number, (*values, label) = row
        choices = tuple(values[len(self.texts) :])
        values = values[: len(self.texts)]
        if not all(isinstance(value, str) and value.strip() for value in values) and not self._has_text(number, values):
            return
        for column, value in zip(self.texts, values, strict=True):
            column.append(value or "")  # type: ignore[arg-type]
        self.labels.append(label)
        self.numbers.append(number)
        if choices:
            self.choices.append(choices)

    def _has_text(self, number: int, values: list[Cell]) -> bool:
        place = self.places[-1][0]
        for name, value in zip(self.text_columns, values, strict=True):
            if isinstance(value, list):
                self.faults.add("list", place, number, f"{one_line(name, 40)} is not text but a list")
                return False
        if any(value.strip() for value in values if isinstance(value, str)):
            return True
        if not self.blank_rows:
            names = one_line(" and ".join(self.text_columns))
            self._blank.add("blank", place, number, f"no text in {names}", "Fill it in, or remove the row")
        return False

    def split(self, classes: tuple[str, ...] = ()) -> RawSplit:
        """Return the rows; `classes` are those that their source names.

        Raises `BadRows` for faults, and for a split without rows.
        """
        self.faults.check()
        self._blank.check()
        if not self.labels:
            names = ", ".join(name_of(place) for place, _ in self.places)
            raise BadRows(f"{one_line(names)} does not have any rows. Check the file")
        return RawSplit(
            texts=self.texts,
            labels=self.labels,
            numbers=self.numbers,
            places=self.places,
            unit=self.unit,
            classes=classes,
            choices=self.choices,
        )


def read_files(
    places: tuple[str, ...],
    text_columns: tuple[str, ...],
    label_column: str,
    role: str,
    choices_columns: tuple[str, ...] = (),
) -> RawSplit:
    """Return the rows of a split's files; a test split may lack the label column.

    Raises `BadRows` for rows that cannot be used: all of one kind at once, with their file and line.
    """
    columns = (*text_columns, *choices_columns)
    optional = (label_column,) if role == TEST else ()
    wanted = Wanted(columns if optional else (*columns, label_column), optional, choices=choices_columns)
    gathering = Gathering(text_columns, choices_columns)
    for place in places:
        gathering.begin(place)
        for row in read_table(place, wanted, gathering.faults):
            gathering.add(row)
    return gathering.split()
