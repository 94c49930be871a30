"""Targets in the rows: numbers for classes, read from the cells of the columns that --target-columns names."""

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.data.tables.cells import spelled
from pipeline.data.tables.faults import Faults
from pipeline.errors import one_line

BLOCK_ROWS = 4096  # rows that are Python objects at a time
MOST_CLASSES = 10_000
FORMS = "a list of numbers, an object {class: number}, or the name of a class"


@dataclass(frozen=True, kw_only=True)
class RawTargets:
    """The targets of the rows of a split before their columns have a meaning.

    `values` [n, K] are NaN where a row leaves out a number. `names` are those of the K columns, where there are names.
    """

    values: np.ndarray
    names: tuple[str, ...]  # of classes, or of the columns of the file; none for the items of lists
    lengths: np.ndarray  # of the lists, [n], 0 for an empty one; -1 for other cells
    hard: np.ndarray  # whether a row has the names of its classes alone, bool [n]

    def __len__(self) -> int:
        return len(self.values)

    def taken(self, rows: np.ndarray) -> "RawTargets":
        """Return the targets of these rows."""
        return replace(self, values=self.values[rows], lengths=self.lengths[rows], hard=self.hard[rows])


@dataclass
class TargetCells:
    """The targets of a split while its rows are read. `columns`: one column, or one per class."""

    columns: tuple[str, ...]
    scores: bool  # a cell is a number, not a distribution
    faults: Faults
    names: dict[str, int] = field(default_factory=dict)  # name -> column of the values

    def __post_init__(self) -> None:
        if len(self.columns) > 1:
            self.names = {name: place for place, name in enumerate(self.columns)}
        self._is_list: bool | None = None  # whether the cells are lists, not objects or names
        self._rows: list[dict[int, float]] = []
        self._lengths: list[int] = []
        self._hard: list[bool] = []
        self._blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, cells: tuple[Any, ...], place: str, number: int) -> None:
        """Add the targets of a row; what is wrong with them is a fault of that row."""
        if len(self._rows) == BLOCK_ROWS:  # not sooner: the last row can be removed
            self._flush()
        row: dict[int, float] = {}
        length, hard = -1, False
        try:
            if len(cells) > 1:
                row = {place: _number(value, self.columns[place]) for place, value in enumerate(cells)}
            else:
                row, length, hard = self._parsed(cells[0])
        except ValueError as error:
            kind, _, fact = str(error).partition(": ")
            self.faults.add(kind, place, number, fact, _ADVICE.get(kind, "Fix this row"))
        self._rows.append(row)
        self._lengths.append(length)
        self._hard.append(hard)

    def remove_last(self) -> None:
        """Remove the targets of the row that was added last."""
        for column in (self._rows, self._lengths, self._hard):
            column.pop()

    def _parsed(self, cell: Any) -> tuple[dict[int, float], int, bool]:
        """Return {column: number}, the length of a list, and whether the cell is the names of classes alone.

        Raises ValueError with the kind of fault, a colon, and the fact.
        """
        name = self.columns[0]
        value = _decoded(cell, name)
        if self.scores:
            items = value if isinstance(value, list) else [value]
            if len(items) != 1:
                raise ValueError(f"target length: {_short(name)} has {len(items)} numbers, and a score is one")
            return {0: _number(items[0], name)}, -1, False
        if isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
            value = _object(value)  # a map of parquet
        if isinstance(value, dict):
            self._check_form(False)
            given = {key: item for key, item in value.items() if item is not None}
            if not given:
                raise ValueError(f"target empty: {_short(name)} has no number for any class")
            return {self._place(str(key)): _number(item, f"{name}, {key}") for key, item in given.items()}, -1, False
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            if value:
                self._check_form(False)
            elif self._is_list:
                raise ValueError(f"target empty: {_short(name)} is an empty list")
            return {self._place(item.strip()): 1.0 for item in value}, -1 if value else 0, True
        if isinstance(value, list):
            self._check_form(True)
            if len(value) > MOST_CLASSES:
                raise ValueError(f"target length: {_short(name)} has {len(value):,} numbers")
            return {place: _number(item, name) for place, item in enumerate(value)}, len(value), False
        self._check_form(False)
        return {self._place(_class_name(value, name)): 1.0}, -1, True

    def _check_form(self, is_list: bool) -> None:
        if self._is_list is None:
            self._is_list = is_list
        elif self._is_list != is_list:
            forms = ("an object or the name of a class", "a list of numbers")
            column = _short(self.columns[0])
            raise ValueError(f"target form: {column} is {forms[is_list]}, and in the first rows {forms[not is_list]}")

    def _place(self, key: str) -> int:
        if key not in self.names and len(self.names) == MOST_CLASSES:
            raise ValueError(f"target names: has the {MOST_CLASSES + 1:,}th name of a class, {_short(key)}")
        return self.names.setdefault(key, len(self.names))

    def _flush(self) -> None:
        width = max((place + 1 for row in self._rows for place in row), default=0)
        values = np.full((len(self._rows), width), np.nan)
        for number, row in enumerate(self._rows):
            values[number, list(row)] = list(row.values())
        self._blocks.append((values, np.array(self._lengths, np.int32), np.array(self._hard, bool)))
        self._rows, self._lengths, self._hard = [], [], []

    def read(self) -> RawTargets:
        """Return the targets of all rows since the last call."""
        self._flush()
        count = sum(len(values) for values, *_ in self._blocks)
        width = max(len(self.names), *(values.shape[1] for values, *_ in self._blocks))
        lengths, hard = (np.concatenate([block[part] for block in self._blocks]) for part in (1, 2))
        joined, start = np.empty((count, width)), 0
        while self._blocks:  # so that there is one copy in memory
            values, *_ = self._blocks.pop(0)
            joined[start : start + len(values), : values.shape[1]] = values
            joined[start : start + len(values), values.shape[1] :] = np.nan
            start += len(values)
        return RawTargets(values=joined, names=tuple(self.names), lengths=lengths, hard=hard)


_ADVICE = {
    "target missing": "Fill it in, remove the row, or name other --target-columns",
    "target finite": "Write a finite number (for the logarithm of 0, -9999)",
    "target form": f"Write all rows in one form: {FORMS}",
    "target single": "Name a list of numbers, or a column for each class with --target-columns A,B,…",
    "target json": f"Write {FORMS}",
}


def _decoded(cell: Any, column: str) -> Any:
    """Return the value of a cell, which may be a text of JSON. Raises ValueError for a missing one."""
    if isinstance(cell, str) and cell.strip()[:1] in ("[", "{"):
        try:
            return json.loads(cell, object_pairs_hook=_object)
        except RecursionError as error:
            raise ValueError(f"target json: {_short(column)} is not JSON") from error
        except json.JSONDecodeError as error:
            fact = f"target json: {_short(column)} is not JSON ({error.msg}, character {error.pos + 1})"
            raise ValueError(fact) from error
    if cell is None or cell != cell or (isinstance(cell, str) and not cell.strip()):
        raise ValueError(f"target missing: no target in {_short(column)}")
    return cell


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = {str(key): item for key, item in pairs}
    if len(value) < len(pairs):
        raise ValueError("target json: an object names a class twice")
    return value


def _number(value: Any, column: str) -> float:
    """Return a finite number. Raises ValueError for anything else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"target missing: no number in {_short(column)}")
    try:
        if isinstance(value, bool | list | dict | tuple):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"target number: {_short(column)} is not a number but {_short(repr(value))}") from None
    if not math.isfinite(number):
        raise ValueError(f"target finite: {_short(column)} is not a finite number but {number}")
    return number


def _class_name(value: Any, column: str) -> str:
    """Return the class that a cell names. Raises ValueError for a fraction: it is not a distribution."""
    name = str(spelled(value)).strip()
    if not isinstance(value, int) and _is_fraction(name):
        raise ValueError(f"target single: {_short(column)} is one number, {_short(name)}, and a class is not named so")
    return name


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except (ValueError, OverflowError):
        return False


def _short(text: str) -> str:
    return one_line(text, 40)
