"""The shards of a cache as the columns of a `Split`: opened when first used, in each process for itself."""

import contextlib
import mmap
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.cache.format.manifest import Manifest, ShardRecord
from pipeline.data.ragged import Column, Ragged
from pipeline.data.splits import Split, row_hashes
from pipeline.errors import BadCache, DamagedFile
from pipeline.system.digests import bytes_digest

_ADVISES = hasattr(mmap, "MADV_WILLNEED") and hasattr(mmap, "MADV_RANDOM")
FileState = tuple[int, ...]  # device, inode, size, mtime and ctime in ns


def file_state(found: os.stat_result) -> FileState:
    """What changes when a file's bytes are changed or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(frozen=True)
class Piece:
    """Bytes (uint8) with the digest that they ought to have, and the file that holds them, as it was when opened."""

    data: np.ndarray
    sha256: str
    path: Path
    state: FileState


class Source(Protocol):
    """Where the bytes of a cache's shards are."""

    def part(self, shard: ShardRecord, part: str) -> np.ndarray:
        """The bytes (uint8) of a part of a column. Raises `BadCache` naming the shard."""
        ...

    def will_need(self, shard: ShardRecord, part: str, starts: np.ndarray, length: int) -> None:
        """Say that from each of `starts` (bytes in the part, at random) `length` bytes will be read soon."""
        ...

    def pieces(self, shard: ShardRecord, parts: Sequence[str]) -> Iterator[Piece]:
        """What has to be compared with its digest before these parts are to be trusted."""
        ...

    def damaged(self, shard: ShardRecord, reason: object) -> BadCache:
        """The error for a shard that is not what the manifest says."""
        ...

    def need(self, parts: Sequence[tuple[ShardRecord, str]]) -> None:
        """Say what will be read. Raises `BadOption` if there is no room for so much."""
        ...

    def ahead(self, parts: Sequence[tuple[ShardRecord, str]]) -> AbstractContextManager[None]:
        """Meanwhile these parts are made ready, where they are not yet."""
        ...

    def need_teacher(self, names: Iterable[str]) -> None:
        """Make these files of teacher/ ready. Raises `BadCache`, `BadPlace`, `BadOption`."""
        ...


def map_file(path: Path) -> tuple[np.ndarray, FileState]:
    """The bytes (uint8) of a plain file as a shared, read-only view. Raises OSError or ValueError, for links too."""
    mapped, state = open_mapping(path)
    return np.frombuffer(mapped, np.uint8), state


def open_mapping(path: Path) -> tuple[mmap.mmap, FileState]:
    """The file mapped, likewise."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no plain file")
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    return mapped, file_state(found)


class LocalSource:
    """The files of a cache in a directory, mapped."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._mapped: dict[str, tuple[np.ndarray, FileState, mmap.mmap]] = {}
        self._random: set[tuple[str, str]] = set()  # parts that the system knows to be read at random

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
        extent = shard.parts[part]
        return self._map(shard)[0][extent.offset : extent.offset + extent.bytes]

    def will_need(self, shard: ShardRecord, part: str, starts: np.ndarray, length: int) -> None:
        if not _ADVISES:
            return
        _, _, mapping = self._map(shard)
        extent = shard.parts[part]
        with contextlib.suppress(OSError):  # of a file system that takes no advice: the rows are read all the same
            if (shard.file, part) not in self._random:  # else each row would bring in its neighbours too
                self._random.add((shard.file, part))
                first = -(-extent.offset // mmap.PAGESIZE) * mmap.PAGESIZE
                if first < extent.offset + extent.bytes:
                    mapping.madvise(mmap.MADV_RANDOM, first, extent.offset + extent.bytes - first)
            for start in (starts + extent.offset).tolist():
                page = start - start % mmap.PAGESIZE
                mapping.madvise(mmap.MADV_WILLNEED, page, start + length - page)

    def pieces(self, shard: ShardRecord, parts: Sequence[str]) -> Iterator[Piece]:
        """The whole file, whatever is read of it: mapped once more, since the rows' mapping is advised for reading at
        random, unless another file has its name now.
        """
        path = self.directory / shard.file
        data, state, _ = self._map(shard)
        with contextlib.suppress(OSError, ValueError):
            again, now = map_file(path)
            data = again if now == state else data
        yield Piece(data, shard.sha256, path, state)

    def damaged(self, shard: ShardRecord, reason: object) -> BadCache:
        return DamagedFile(self.directory / shard.file, reason, self.directory)

    def need(self, parts: Sequence[tuple[ShardRecord, str]]) -> None:
        """Everything is here."""

    def ahead(self, parts: Sequence[tuple[ShardRecord, str]]) -> AbstractContextManager[None]:
        return nullcontext()

    def need_teacher(self, names: Iterable[str]) -> None:
        """Everything is here."""


class Shard(Mapping[str, Column]):
    """The columns of one shard as views of its bytes. A column is checked when it is first used.

    Getting one raises `BadCache` where its values cannot be: token ids outside the vocabulary, labels outside the
    classes, example ids that do not count on, rows of no length.
    """

    def __init__(self, source: Source, manifest: Manifest, split: str, index: int):
        self.source, self.manifest, self.split = source, manifest, split
        self.record = manifest.splits[split].shards[index]
        self.first_id = index * manifest.fields.shard_rows
        self.types = manifest.column_types()
        self._columns: dict[str, Column] = {}
        self._asked: dict[tuple[str, ...], np.ndarray] = {}  # columns -> bool [rows]: prefetched before

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_columns": {}, "_asked": {}}

    def __contains__(self, name: object) -> bool:
        return name in self.types

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, name: str) -> Column:
        if name not in self._columns:
            column = self._view(name)
            try:
                self._check(name, column)
            except ValueError as error:
                raise self.source.damaged(self.record, error) from error
            self._columns[name] = column
        return self._columns[name]

    def prefetch(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Rows of these fixed-width columns will be read soon. What stays in memory is asked for once."""
        rows = self._not_asked(tuple(names), rows)
        if len(rows):
            for name in names:
                length = self.types[name].bytes(1)
                self.source.will_need(self.record, name, rows * length, length)

    def _not_asked(self, names: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
        """The rows to be asked for now: all of them where the columns are more than stays in memory."""
        if names not in self._asked:
            self._asked[names] = np.zeros(self.record.rows if self._stays(names) else 0, bool)
        asked = self._asked[names]
        if not len(asked):
            return rows
        rows = rows[~asked[rows]]
        asked[rows] = True
        return rows

    def _stays(self, names: Sequence[str]) -> bool:
        """Whether these columns of all shards fill no more than half of this machine's memory."""
        shards = len(self.manifest.splits[self.split].shards)
        return 2 * shards * sum(self.record.parts[name].bytes for name in names) <= _memory_bytes()

    def _view(self, name: str) -> Column:
        """A column whose values nobody has looked at."""
        column_type = self.types[name]
        parts = [self.source.part(self.record, part) for part in column_type.parts(name)]
        try:
            return column_type.view(name, parts, self.record.rows)
        except ValueError as error:
            raise self.source.damaged(self.record, error) from error

    def _check(self, name: str, column: Column) -> None:
        model = self.manifest.model
        if name == "example_id":
            if not np.array_equal(column, np.arange(self.first_id, self.first_id + self.record.rows)):  # type: ignore[arg-type]
                raise ValueError("its example ids do not count on from the shard before it")
        elif name == "label":
            labelled = self.manifest.splits[self.split].labelled
            self.manifest.kind.check_labels(column, model.classes, labelled)  # type: ignore[arg-type]
        elif name == "input_ids":
            _within("input_ids", column.values, 0, model.vocabulary)  # type: ignore[union-attr]
            longest, allowed = np.diff(column.offsets).max(), self.manifest.fields.max_length  # type: ignore[union-attr]
            if longest > allowed:
                raise ValueError(f"a row of input_ids has {longest} tokens, and the longest may have {allowed}")
        elif name == "token_type_ids":
            _within("token_type_ids", column.values, 0, model.token_types)  # type: ignore[union-attr]
            if not np.array_equal(column.offsets, self["input_ids"].offsets):  # type: ignore[union-attr]
                raise ValueError("the ragged columns differ in the lengths of their rows")

    def damaged_parts(self) -> list[str]:
        """The parts whose bytes are not those of the manifest. Raises `BadCache` where the file cannot be read."""
        parts = self.record.parts.items()
        return [part for part, extent in parts if bytes_digest(self.source.part(self.record, part)) != extent.sha256]

    def what_differs(self) -> str | None:
        """Which parts have other bytes than in the manifest, and the first row that is seen to have other tokens."""
        damaged = self.damaged_parts()
        told = [f"the bytes of {', '.join(damaged)} are not those of the manifest"] if damaged else []
        try:
            example = self.row_of_other_tokens()
        except BadCache:  # bytes that are no tokens at all
            example = None
        if example is not None:
            told.append(f"the tokens of example {example} have another row_hash")
        return "; ".join(told) or None

    def row_of_other_tokens(self) -> int | None:
        """Id of the first example whose tokens do not have the row hash that is stored for it."""
        tokens, hashes = self._view("input_ids"), self._view("row_hash")
        assert isinstance(tokens, Ragged) and isinstance(hashes, np.ndarray)
        for row, found in enumerate(row_hashes(tokens)):
            if found != hashes[row].tobytes():
                return self.first_id + row
        return None


def open_split(source: Source, manifest: Manifest, name: str) -> Split:
    """Return a split of a cache; its shards are opened when they are first used."""
    record = manifest.splits[name]
    return Split(name, [Shard(source, manifest, name, index) for index in range(len(record.shards))], record.labelled)


@cache
def _memory_bytes() -> int:
    """0 where the system does not tell."""
    if not hasattr(os, "sysconf") or not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _within(name: str, values: np.ndarray, lowest: int, above: int) -> None:
    if values.min() < lowest or values.max() >= above:
        raise ValueError(f"{name} holds {values.min()}..{values.max()}, not {lowest}..{above - 1}")
