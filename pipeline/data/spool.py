"""Columns of a shard on disk instead of in memory, while a command needs them.

The file has no name: the system frees its space when the columns are no longer used, also where the process is killed.
"""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from pipeline.data.ragged import Column, Columns, Ragged
from pipeline.data.rows.rows import SplitRows, TaskRows
from pipeline.data.splits import Split
from pipeline.data.tasks import TRAIN, TRANSFER
from pipeline.errors import BadCache
from pipeline.system.mapped_files import Mapping
from pipeline.system.progress import bar
from pipeline.system.system_errors import reason_of

_ALIGNMENT = 64  # bytes


class Spool:
    """A place for columns: a directory that is or will be, where there is room for them, else the next above it."""

    def __init__(self, directory: Path):
        places = (directory.absolute(), *directory.absolute().parents)
        usable = (place for place in places if place.is_dir() and os.access(place, os.W_OK))
        self.directory = next(usable, Path(tempfile.gettempdir()))

    def keep(self, columns: Columns) -> dict[str, Column]:
        """Return the same columns, mapped from a file that this writes. Raises `BadCache` when the disk refuses."""
        try:
            return self._keep(columns)
        except OSError as error:
            raise BadCache(
                f"{self.directory} cannot take the rows that were read ({reason_of(error)}). Make room there, or name "
                "another --cache, then run the same command again"
            ) from error

    def _keep(self, columns: Columns) -> dict[str, Column]:
        parts = [part for column in columns.values() for part in _parts(column)]
        sizes = np.array([-(-part.nbytes // _ALIGNMENT) * _ALIGNMENT for part in parts])
        ends = np.cumsum(sizes)
        with tempfile.TemporaryFile(dir=self.directory) as file:
            for part, end in zip(parts, ends, strict=True):
                file.write(np.ascontiguousarray(part).data if part.size else b"")
                file.write(bytes(int(end) - file.tell()))
            file.flush()
            data = np.asarray(Mapping(file.fileno(), int(ends[-1])))
        starts = iter((ends - sizes).tolist())

        def mapped(part: np.ndarray) -> np.ndarray:
            start = next(starts)
            return data[start : start + part.nbytes].view(part.dtype).reshape(part.shape)

        return {
            name: Ragged(mapped(column.values), mapped(column.offsets))
            if isinstance(column, Ragged)
            else mapped(column)
            for name, column in columns.items()
        }


def _parts(column: Column) -> tuple[np.ndarray, ...]:
    return (column.values, column.offsets) if isinstance(column, Ragged) else (column,)


def make_splits(
    rows: TaskRows, make: Callable[[str, SplitRows], Split], shard_rows: int, spool: Spool
) -> dict[str, Split]:
    """Return the splits of one shard that `make` makes of the name and the rows of each.

    The rows of a stream become a split transfer, after train: each `shard_rows` of them are a shard in the `spool`.
    """
    splits = {}
    for name, part in rows.splits.items():
        splits[name] = make(name, part)
        if name == TRAIN and rows.transfer:
            splits[TRANSFER] = _spooled(TRANSFER, rows.transfer.parts(shard_rows), make, spool)
    return splits


def _spooled(name: str, parts: Iterable[SplitRows], make: Callable[[str, SplitRows], Split], spool: Spool) -> Split:
    shards: list[Columns] = []
    first = 0
    with bar(0, f"read {name}", "ex") as progress:
        for part in parts:
            (shard,) = make(name, part).shards
            shards.append(spool.keep({**shard, "example_id": np.arange(first, first + len(part), dtype=np.int64)}))
            first += len(part)
            progress.update(len(part))
    return Split(name, shards, False)
