"""The two containers of shards. Each is a module with SUFFIX, write(path, columns) and layout(path, types, rows)."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pipeline.cache.format.columns import ColumnType
from pipeline.data.ragged import Column
from pipeline.errors import one_line


class Container(Protocol):
    SUFFIX: str

    def write(self, path: Path, columns: Mapping[str, Column]) -> None: ...

    def layout(self, path: Path, types: Mapping[str, ColumnType], rows: int) -> dict[str, tuple[int, int]]: ...


def container(name: str) -> Container:
    """Raises KeyError for another name than arrow and hdf5."""
    if name == "hdf5":
        from pipeline.cache.format import hdf5

        return hdf5
    if name == "arrow":
        from pipeline.cache.format import arrow

        return arrow
    raise KeyError(name)


def layout(name: str, path: Path, types: Mapping[str, ColumnType], rows: int) -> dict[str, tuple[int, int]]:
    """(offset, bytes) of each part in a shard's file. Raises ValueError or OSError for a file that is no such shard."""
    import pyarrow as pa

    try:
        return container(name).layout(path, types, rows)
    except (struct.error, KeyError, RuntimeError, TypeError, OverflowError, StopIteration, pa.ArrowException) as error:
        raise ValueError(one_line(f"{type(error).__name__}: {error}")) from error
