"""Sources of a cache's bytes: where the parts of its shards are read from."""

import contextlib
import mmap
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.cache.format.manifest import ShardRecord
from pipeline.errors import BadCache, DamagedFile

_ADVISES = hasattr(mmap, "MADV_WILLNEED") and hasattr(mmap, "MADV_RANDOM")
FileState = tuple[int, ...]  # device, inode, size, mtime and ctime in ns


def file_state(status: os.stat_result) -> FileState:
    """Return the numbers that change when a file's bytes are changed or replaced."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


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


def map_file(path: Path) -> tuple[np.ndarray, FileState]:
    """Return the bytes (uint8) of a regular file as a shared read-only view, and its state. See `open_mapping`."""
    mapped, state = open_mapping(path)
    return np.frombuffer(mapped, np.uint8), state


def open_mapping(path: Path) -> tuple[mmap.mmap, FileState]:
    """Return the read-only mapping of a regular file, and its state. Raises OSError or ValueError, for links too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    return mapped, file_state(status)


class LocalSource:
    """The files of a cache in a directory, mapped."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._mapped: dict[str, tuple[np.ndarray, FileState, mmap.mmap]] = {}
        self._random: set[tuple[str, str]] = set()  # parts that the system was advised to read at random

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps for itself.
        return {"directory": self.directory, "_mapped": {}, "_random": set()}

    def _map(self, shard: ShardRecord) -> tuple[np.ndarray, FileState, mmap.mmap]:
        if shard.file not in self._mapped:
            try:
                mapping, state = open_mapping(self.directory / shard.file)
                data = np.frombuffer(mapping, np.uint8)
                if len(data) != shard.bytes:
                    raise ValueError(f"its size is {len(data)}, not {shard.bytes} bytes")
            except (OSError, ValueError) as error:
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
                    mapping.madvise(mmap.MADV_RANDOM, first, extent.offset + extent.bytes - first)
            for start in (starts + extent.offset).tolist():
                page = start - start % mmap.PAGESIZE
                mapping.madvise(mmap.MADV_WILLNEED, page, start + length - page)

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
