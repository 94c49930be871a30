"""The two containers of shards. Each is a module with SUFFIX, write(path, columns) and read(path)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pipeline.examples import Column


class Container(Protocol):
    SUFFIX: str

    def write(self, path: Path, columns: Mapping[str, Column]) -> None: ...

    def read(self, path: Path) -> dict[str, Column]: ...


def container(name: str) -> Container:
    """Raises KeyError for another name than arrow and hdf5."""
    if name == "hdf5":
        from pipeline.cache import hdf5

        return hdf5
    if name == "arrow":
        from pipeline.cache import arrow

        return arrow
    raise KeyError(name)
