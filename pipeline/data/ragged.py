"""Columns whose rows differ in length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: row i is values[offsets[i]:offsets[i + 1]]; offsets are int64 [n + 1]."""

    values: np.ndarray
    offsets: np.ndarray

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self, start: int, stop: int) -> "Ragged":
        """Return rows start..stop-1."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: np.ndarray) -> "Ragged":
        """Return these rows, in this order. Raises IndexError or ValueError for a row that does not exist."""
        starts = self.offsets[rows]
        offsets, flat = flat_rows(starts, self.offsets[rows + 1] - starts)
        return Ragged(self.values[flat], offsets)

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]], dtype: Any) -> "Ragged":
        """Return the column of these rows."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.fromiter(chain.from_iterable(rows), dtype, offsets[-1]), offsets)

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Return the rows of all parts, one after the other."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(np.concatenate([part.values for part in parts]), np.concatenate(([0], np.cumsum(lengths))))


Column = np.ndarray | Ragged
Columns = Mapping[str, Column]


def slice_columns(columns: Columns, start: int, stop: int) -> dict[str, Column]:
    """Return rows start..stop-1 of columns."""
    return {
        name: column.rows(start, stop) if isinstance(column, Ragged) else column[start:stop]
        for name, column in columns.items()
    }


def flat_rows(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets of rows of these lengths placed one after the other, and the source index of each value."""
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return offsets, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
