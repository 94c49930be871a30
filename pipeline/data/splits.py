"""Tokenised examples, in memory or in the shards of a cache: the same columns either way.

A split is a list of shards; a shard is a dict of columns; a column is an array with a row an example, or, where
examples differ in length, a `Ragged`. An example's id is its row number in the split.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from pipeline.data.ragged import Column, Columns, Ragged, flat_rows
from pipeline.errors import BadCache, shell_line

ROW_HASH_BYTES = 16


def row_hash(token_ids: np.ndarray) -> bytes:
    """16 bytes that tell one example from another: BLAKE2b of its token ids as little-endian int32."""
    return hashlib.blake2b(np.ascontiguousarray(token_ids, "<i4").tobytes(), digest_size=ROW_HASH_BYTES).digest()


def row_hashes(tokens: Ragged) -> tuple[bytes, ...]:
    """The row hash of every row, at half the cost of asking row by row."""
    values = memoryview(np.ascontiguousarray(tokens.values, "<i4").tobytes())
    ends = (4 * tokens.offsets).tolist()
    return tuple(
        hashlib.blake2b(values[start:stop], digest_size=ROW_HASH_BYTES).digest() for start, stop in pairwise(ends)
    )


@dataclass(frozen=True)
class Split:
    """Examples 0..n-1 of one split, in consecutive shards."""

    name: str
    shards: Sequence[Columns]
    labelled: bool

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [shards + 1]: the example id with which each shard begins, and n."""
        return np.concatenate(([0], np.cumsum([len(shard["label"]) for shard in self.shards], dtype=np.int64)))

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [n]: tokens of each example."""
        offsets = [shard["input_ids"].offsets for shard in self.shards]  # type: ignore[union-attr]
        return np.concatenate([np.diff(part) for part in offsets])

    @cached_property
    def labels(self) -> np.ndarray:
        return np.concatenate([np.asarray(shard["label"]) for shard in self.shards])

    def whole(self, name: str) -> np.ndarray:
        """A fixed-width column of every example, [n, width]."""
        return np.concatenate([np.asarray(shard[name]) for shard in self.shards])

    def rows(self, ids: np.ndarray) -> "Rows":
        """Where these examples lie. Raises IndexError for an id that is none."""
        ids = np.array(ids, np.int64)  # a copy: nobody changes what was checked here
        if not len(ids) or ids.min() < 0 or ids.max() >= len(self):
            raise IndexError(f"split {self.name} has the examples 0 to {len(self) - 1}")
        return Rows(self, ids)

    def gather(self, name: str, ids: np.ndarray) -> np.ndarray:
        """Rows of a fixed-width column, in the order of `ids`: [len(ids), width] or [len(ids)]."""
        return self.rows(ids).gather(name)

    def prefetch(self, names: Sequence[str], ids: np.ndarray) -> None:
        """Ask for these rows of fixed-width columns to be read from where they lie, before they are gathered."""
        for part in self.rows(ids).parts:
            if isinstance(part.shard, Prefetching):
                part.shard.prefetch(names, part.local)

    @property
    def has_token_types(self) -> bool:
        return "token_type_ids" in self.shards[0]


@runtime_checkable
class Prefetching(Protocol):
    """A shard whose rows can be asked for ahead."""

    def prefetch(self, names: Sequence[str], rows: np.ndarray) -> None: ...


class RowsOfShard(NamedTuple):
    """What of some examples lies in one shard: row numbers in it, and where they stand among the rising ids."""

    shard: Columns
    local: np.ndarray
    places: slice


class Rows:
    """Some examples of a split, located once for all their columns. Made by `Split.rows`, which has checked the ids:
    so `take` may clip, which is twice as fast as checking each index again.
    """

    def __init__(self, split: Split, ids: np.ndarray):
        ids.setflags(write=False)
        self.split, self.ids = split, ids
        self._checked: tuple[bytes, ...] | None = None  # the hashes for which `check` found nothing
        self._places: np.ndarray | None = None  # of `ids` among the sorted ones; None: they are sorted
        if (ids[1:] < ids[:-1]).any():
            order = np.argsort(ids, kind="stable")
            self._places = np.argsort(order)
            ids = ids[order]
        shards = np.searchsorted(split.starts, ids, side="right") - 1
        local = ids - split.starts[shards]
        first, last = int(shards[0]), int(shards[-1])
        cuts = np.searchsorted(shards, np.arange(first, last + 2)).tolist()
        self.parts = [
            RowsOfShard(split.shards[index], local[start:stop], slice(start, stop))
            for index, start, stop in zip(range(first, last + 1), cuts[:-1], cuts[1:], strict=True)
            if stop > start
        ]

    def gather(self, name: str, out: np.ndarray | None = None) -> np.ndarray:
        """A fixed-width column, [n, width] or [n], in the order of the ids; into `out` where that is given."""
        found = self._empty(name) if out is None or self._places is not None else out
        for shard, local, places in self.parts:
            column = shard[name]
            assert isinstance(column, np.ndarray)
            # The method: `np.take` costs a microsecond more, and a batch takes from every column of every shard.
            column.take(local, 0, found[places], "clip")
        if self._places is None:
            return found
        return found.take(self._places, 0, out, "clip")

    def stacked(self, names: Sequence[str]) -> np.ndarray:
        """Columns of one width, [len(names), n, width]."""
        found = self._empty(names[0], len(names))
        for column, name in zip(found, names, strict=True):
            self.gather(name, column)
        return found

    def _empty(self, name: str, *outer: int) -> np.ndarray:
        column = self.parts[0].shard[name]
        assert isinstance(column, np.ndarray)
        return np.empty((*outer, len(self.ids), *column.shape[1:]), column.dtype)

    def ragged(self, name: str) -> Ragged:
        """A ragged column, its rows joined in the order of the ids."""
        columns = []
        starts, stops = np.empty((2, len(self.ids)), np.int64)
        for shard, local, places in self.parts:
            column = shard[name]
            assert isinstance(column, Ragged)
            columns.append(column)
            column.offsets.take(local, 0, starts[places], "clip")
            column.offsets.take(local + 1, 0, stops[places], "clip")
        offsets, flat = flat_rows(starts, stops - starts)
        values = np.empty(len(flat), columns[0].values.dtype)
        for column, (_, _, places) in zip(columns, self.parts, strict=True):
            inside = slice(offsets[places.start], offsets[places.stop])
            column.values.take(flat[inside], 0, values[inside], "clip")
        joined = Ragged(values, offsets)
        return joined if self._places is None else joined.take(self._places)

    def check(self, hashes: tuple[bytes, ...]) -> None:
        """Join check: the rows that stand for the ids carry these ids and the hashes of the tokens in use.

        Once: asked again with the very same hashes, it does not look again. Raises `BadCache` naming the first example
        that does not carry them.
        """
        if hashes is self._checked:
            return
        stored_ids, stored_hashes = self.gather("example_id"), self.gather("row_hash")
        if (stored_ids == self.ids).all() and stored_hashes.tobytes() == b"".join(hashes):
            self._checked = hashes
            return
        for example, stored, digest, expected in zip(self.ids, stored_ids, stored_hashes, hashes, strict=True):
            if example != stored or digest.tobytes() != expected:
                raise BadCache(
                    f"split {self.split.name}, example {example}: the stored row belongs to other tokens "
                    f"(example_id {stored}, row_hash {digest.tobytes().hex()}, expected {expected.hex()}). "
                    f"The cache is damaged: see {shell_line('cache', 'verify', '--help')}"
                )


def slice_examples(split: Split, start: int, stop: int) -> dict[str, Column]:
    """Examples start..stop-1 of a split held in one shard, as the columns of a shard of their own."""
    (columns,) = split.shards
    return {
        name: column.rows(start, stop) if isinstance(column, Ragged) else column[start:stop]
        for name, column in columns.items()
    }


def rows_digest(columns: Columns) -> str:
    """SHA-256 over the example ids, row hashes and labels of a shard: what its targets belong to."""
    digest = hashlib.sha256()
    for name, dtype in (("example_id", "<i8"), ("row_hash", "|u1"), ("label", "<f8")):
        digest.update(np.ascontiguousarray(columns[name], dtype).tobytes())
    return digest.hexdigest()


def shard_ranges(examples: int, rows: int) -> list[tuple[int, int]]:
    """First example and the one after the last of each shard of `rows` rows."""
    return [(start, min(start + rows, examples)) for start in range(0, examples, rows)]


def split_digest(split: Split, rows: int) -> str:
    """SHA-256 over the row digests of the shards of a split in memory, so that a stream can be digested as it comes."""
    digests = [rows_digest(slice_examples(split, start, stop)) for start, stop in shard_ranges(len(split), rows)]
    return digest_of(digests)


def digest_of(digests: Sequence[str]) -> str:
    """SHA-256 over the row digests of a split's shards."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()
