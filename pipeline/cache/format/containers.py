"""Containers of shards: the file formats that hold the same columns.

To add one, write its module with `write` and `layout`, add it here, and add its name to `CONTAINER_NAMES`
(pipeline/config/shared.py).
"""

import importlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.format.columns import ColumnType
from pipeline.data.ragged import Column
from pipeline.errors import one_line
from pipeline.system.system_errors import raise_if_of_system


@dataclass(frozen=True)
class Container:
    """A file format. Its module is imported when it is first used: a cache in Arrow needs no h5py."""

    suffix: str
    module: str

    def write(self, path: Path, columns: Mapping[str, Column]) -> None:
        """Write the columns of a shard into a file. Raises OSError."""
        self._module().write(path, columns)

    def layout(self, path: Path, types: Mapping[str, ColumnType], rows: int) -> dict[str, tuple[int, int]]:
        """Return {part: (offset, bytes)} of a shard's file. Raises ValueError or OSError for any other file."""
        module = self._module()
        try:
            layout: dict[str, tuple[int, int]] = module.layout(path, types, rows)
        except (struct.error, KeyError, RuntimeError, TypeError, OverflowError, StopIteration) as error:
            raise_if_of_system(error)
            raise ValueError(one_line(f"{type(error).__name__}: {error}")) from error
        return layout

    def _module(self) -> Any:
        return importlib.import_module(self.module)


CONTAINERS = {
    "arrow": Container(".arrow", "pipeline.cache.format.arrow"),
    "hdf5": Container(".h5", "pipeline.cache.format.hdf5"),
}
