"""Sources of a cache's bytes: where the parts of its shards are read from."""

import contextlib
import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.cache.format.manifest import ShardRecord
from pipeline.errors import BadCache, DamagedFile
from pipeline.system.mapped_files import FileState, Mapping, map_file, open_mapping
from pipeline.system.system_errors import raise_if_of_system

_ADVISES = hasattr(mmap, "MADV_WILLNEED") and hasattr(mmap, "MADV_RANDOM")


@dataclass(frozen=True)
class Piece:
    """Bytes (uint8) with their expected digest, and the file that holds them with its state when it was opened."""

    data: np.ndarray
    sha256: str
    path: Path
    state: FileState


class Source(Protocol):
    """A source of the bytes of a cache's shards."""

    def part(self, shard: ShardRecord, part: str) -> np.ndarray:
        """Return the bytes (uint8) of a part of a column. Raises `BadCache` naming the shard."""
        ...

    def will_need(self, shard: ShardRecord, part: str, starts: np.ndarray, length: int) -> None:
        """Announce that `length` bytes from each of `starts` (offsets in the part, in any order) will be read soon."""
        ...

    def pieces(self, shard: ShardRecord, parts: Sequence[str]) -> Iterator[Piece]:
        """Yield the pieces to compare with their digests before these parts are trusted."""
        ...

    def damaged(self, shard: ShardRecord, reason: object) -> BadCache:
        """Return the error for a shard that differs from the manifest."""
        ...

    def need(self, parts: Sequence[tuple[ShardRecord, str]]) -> None:
        """Announce the parts that will be read. Raises `BadOption` if there is no room for so much."""
        ...

    def ahead(self, parts: Sequence[tuple[ShardRecord, str]]) -> AbstractContextManager[None]:
        """Prepare these parts in the background while open."""
        ...

    def need_teacher(self, names: Iterable[str]) -> None:
        """Prepare these files of teacher/. Raises `BadCache`, `BadPlace`, `BadOption`."""
        ...


class LocalSource:
    """The files of a cache in a directory, mapped."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._mapped: dict[str, tuple[np.ndarray, FileState, Mapping]] = {}
        self._random: set[tuple[str, str]] = set()  # parts that the system was advised to read at random

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps for itself.
        return {"directory": self.directory, "_mapped": {}, "_random": set()}

    def _map(self, shard: ShardRecord) -> tuple[np.ndarray, FileState, Mapping]:
        if shard.file not in self._mapped:
            try:
                mapping, state = open_mapping(self.directory / shard.file)
                data = np.asarray(mapping)
                if len(data) != shard.bytes:
                    raise ValueError(f"its size is {len(data)}, not {shard.bytes} bytes")
            except (OSError, ValueError) as error:
                raise_if_of_system(error)
                raise self.damaged(shard, error) from error
            self._mapped[shard.file] = data, state, mapping
        return self._mapped[shard.file]

    def part(self, shard: ShardRecord, part: str) -> np.ndarray:
        """Return the bytes of a part of a column in the mapped file."""
        extent = shard.parts[part]
        return self._map(shard)[0][extent.offset : extent.offset + extent.bytes]

    def will_need(self, shard: ShardRecord, part: str, starts: np.ndarray, length: int) -> None:
        """Advise the system which pages of the file will be read soon."""
        if not _ADVISES:
            return
        _, _, mapping = self._map(shard)
        extent = shard.parts[part]
        with contextlib.suppress(OSError):  # of a file system that takes no advice: the rows are read anyway
            if (shard.file, part) not in self._random:  # else each row would bring in its neighbours too
                self._random.add((shard.file, part))
                first = -(-extent.offset // mmap.PAGESIZE) * mmap.PAGESIZE
                if first < extent.offset + extent.bytes:
                    mapping.advise(mmap.MADV_RANDOM, first, extent.offset + extent.bytes - first)
            for start in (starts + extent.offset).tolist():
                page = start - start % mmap.PAGESIZE
                mapping.advise(mmap.MADV_WILLNEED, page, start + length - page)

    def pieces(self, shard: ShardRecord, parts: Sequence[str]) -> Iterator[Piece]:
        """Yield the whole file, whichever parts are read.

        It is mapped again, since the rows' mapping is advised for random reads, unless another file has its name now.
        """
        path = self.directory / shard.file
        data, state, _ = self._map(shard)
        with contextlib.suppress(OSError, ValueError):
            sequential, now = map_file(path)
            data = sequential if now == state else data
        yield Piece(data, shard.sha256, path, state)

    def damaged(self, shard: ShardRecord, reason: object) -> BadCache:
        """Return the error for a shard that differs from the manifest."""
        return DamagedFile(self.directory / shard.file, reason, self.directory)

    def need(self, parts: Sequence[tuple[ShardRecord, str]]) -> None:
        """Do nothing: every file is on this machine."""

    def ahead(self, parts: Sequence[tuple[ShardRecord, str]]) -> AbstractContextManager[None]:
        """Do nothing: every file is on this machine."""
        return nullcontext()

    def need_teacher(self, names: Iterable[str]) -> None:
        """Do nothing: every file is on this machine."""
