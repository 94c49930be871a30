"""Rows as their files have them, before a label has a meaning, and how they are gathered."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from pipeline.data.rows.leaks import PlacedTexts
from pipeline.data.tables.cells import Cell
from pipeline.data.tables.columns import Wanted
from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import name_of
from pipeline.data.tables.tables import Row, read_table
from pipeline.data.targets.target_cells import RawTargets
from pipeline.data.targets.target_columns import TargetColumns
from pipeline.data.tasks import TEST
from pipeline.errors import BadRows, one_line


def taken_columns(columns: tuple[list[str], ...], rows: np.ndarray) -> tuple[list[str], ...]:
    """Return these rows of columns of texts."""
    return tuple([column[row] for row in rows] for column in columns)


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
    targets: RawTargets | None = None  # where --target-columns names them

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_label(self) -> np.ndarray:
        """Whether each row has a label: bool [n]."""
        return np.array([cell is not None for cell in self.labels], bool)

    def placed_texts(self, name: str) -> PlacedTexts:
        """Return the texts and the places of the rows, in words."""

        def place(row: int) -> str:
            file, number = self.place(row)
            return f"{name_of(file)} {self.unit} {number}"

        return PlacedTexts(self.texts, place)

    def place(self, row: int) -> tuple[str, int]:
        """Return the file and the line of a row."""
        return next(place for place, first in reversed(self.places) if first <= row), self.numbers[row]

    def faults(self) -> Faults:
        """Return a collection of faults in these rows; `add(kind, *split.place(row), fact)` adds one."""
        return Faults(self.unit)

    def taken(self, rows: np.ndarray) -> Self:
        """Return these rows (numbers in rising order)."""
        starts = np.searchsorted(rows, [first for _, first in self.places])
        places = [(place, int(start)) for (place, _), start in zip(self.places, starts, strict=True)]
        texts = taken_columns(self.texts, rows)
        labels, numbers = ([values[row] for row in rows] for values in (self.labels, self.numbers))
        choices = [self.choices[row] for row in rows] if self.choices else []
        targets = self.targets.taken(rows) if self.targets else None
        return replace(
            self, texts=texts, labels=labels, numbers=numbers, places=places, choices=choices, targets=targets
        )


@dataclass
class Gathering:
    """The rows of a split while they are read, from one file after the other."""

    text_columns: tuple[str, ...]
    choices_columns: tuple[str, ...] = ()
    target_columns: TargetColumns | None = None
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
        self.targets = self.target_columns.reader(self.faults) if self.target_columns else None

    def begin(self, place: str) -> None:
        """Begin with another file."""
        self.places.append((place, len(self.labels)))

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, row: Row) -> bool:
        """Add a row: the cells of its text columns, of its choices, of its targets, and its label.

        Half of a pair may be empty. Return False, and count a fault, if there is no text.
        """
        number, (*cells, label) = row
        last = len(self.texts) + len(self.choices_columns)
        values, choices, targets = cells[: len(self.texts)], tuple(cells[len(self.texts) : last]), tuple(cells[last:])
        if not all(isinstance(value, str) and value.strip() for value in values) and not self._has_text(number, values):
            return False
        for column, value in zip(self.texts, values, strict=True):
            column.append(value or "")  # type: ignore[arg-type]
        self.labels.append(label)
        self.numbers.append(number)
        if choices:
            self.choices.append(choices)
        if self.targets:
            self.targets.add(targets, self.places[-1][0], number)
        return True

    def last_texts(self) -> list[str]:
        """Return the texts of the row that was added last."""
        return [column[-1] for column in self.texts]

    def remove_last(self) -> None:
        """Remove the row that was added last."""
        for column in (*self.texts, self.labels, self.numbers, *([self.choices] if self.choices else [])):
            column.pop()  # type: ignore[attr-defined]
        if self.targets:
            self.targets.remove_last()

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
        self.check()
        if not self.labels:
            names = ", ".join(name_of(place) for place, _ in self.places)
            raise BadRows(f"{one_line(names)} does not have any rows. Check the file")
        return self._rows(classes)

    def check(self) -> None:
        """Raise `BadRows` for faults."""
        self.faults.check()
        self._blank.check()

    def taken(self) -> RawSplit:
        """Return the rows so far, and go on in the same file without them."""
        rows = self._rows()
        self.texts, self.labels, self.numbers, self.choices = tuple([] for _ in self.texts), [], [], []
        self.places = [(self.places[-1][0], 0)]
        return rows

    def _rows(self, classes: tuple[str, ...] = ()) -> RawSplit:
        return RawSplit(
            texts=self.texts,
            labels=self.labels,
            numbers=self.numbers,
            places=self.places,
            unit=self.unit,
            classes=classes,
            choices=self.choices,
            targets=self.targets.read() if self.targets else None,
        )


def wanted_columns(
    text_columns: tuple[str, ...],
    label_column: str,
    role: str,
    choices_columns: tuple[str, ...] = (),
    target_columns: TargetColumns | None = None,
) -> Wanted:
    """Return the columns of a split in the order in which `Gathering.add` takes their cells."""
    targets = target_columns.columns if target_columns else ()
    columns = (*text_columns, *choices_columns, *targets)
    optional = (label_column,) if role == TEST or targets else ()
    required = columns if optional else (*columns, label_column)
    return Wanted(required, optional, choices=choices_columns, targets=targets)


def read_files(
    places: tuple[str, ...],
    text_columns: tuple[str, ...],
    label_column: str,
    role: str,
    choices_columns: tuple[str, ...] = (),
    target_columns: TargetColumns | None = None,
) -> RawSplit:
    """Return the rows of a split's files; a test split, and one with targets, may lack the label column.

    Raises `BadRows` for rows that cannot be used: all of one kind at once, with their file and line.
    """
    wanted = wanted_columns(text_columns, label_column, role, choices_columns, target_columns)
    gathering = Gathering(text_columns, choices_columns, target_columns)
    for place in places:
        gathering.begin(place)
        for row in read_table(place, wanted, gathering.faults):
            gathering.add(row)
    return gathering.split()
