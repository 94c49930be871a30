"""Tokenised examples: the same columns in memory and in the shards of a cache.

A split is a list of shards; a shard is a dict of columns; a column is an array with one row per example, or, where
examples differ in length, a `Ragged`. An example's id is its row number in the split.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from pipeline.data.ragged import Column, Columns, Ragged, flat_rows, slice_columns
from pipeline.data.tasks import DEV, role_of
from pipeline.errors import BadCache, shell_line

ROW_HASH_BYTES = 16
TEXT_HASH = "text_hash"  # column of the hashes of the texts, where they are kept beside the tokens
SEQUENCE_LENGTHS = "sequence_lengths"  # column of examples that are several sequences, as a question with its choices


def row_hash(token_ids: np.ndarray, sequence_lengths: Sequence[int] = ()) -> bytes:
    """Return the 16 bytes that identify an example: BLAKE2b of its token ids as little-endian int32.

    Where the example is several sequences, their lengths follow the tokens, as int32 too.
    """
    numbers = np.concatenate((np.asarray(token_ids, "<i4"), np.asarray(sequence_lengths, "<i4")))
    return hashlib.blake2b(numbers.tobytes(), digest_size=ROW_HASH_BYTES).digest()


def row_hashes(tokens: Ragged, sequence_lengths: np.ndarray | None = None) -> tuple[bytes, ...]:
    """Return the row hash of every row, at half the cost of one call per row.

    `sequence_lengths` [n, S] belong to rows of several sequences.
    """
    values = memoryview(np.ascontiguousarray(tokens.values, "<i4").tobytes())
    ends = pairwise((4 * tokens.offsets).tolist())
    if sequence_lengths is None:
        return tuple(hashlib.blake2b(values[start:stop], digest_size=ROW_HASH_BYTES).digest() for start, stop in ends)
    lengths = np.ascontiguousarray(sequence_lengths, "<i4")
    return tuple(
        hashlib.blake2b(bytes(values[start:stop]) + row.tobytes(), digest_size=ROW_HASH_BYTES).digest()
        for (start, stop), row in zip(ends, lengths, strict=True)
    )


@dataclass(frozen=True)
class Split:
    """Examples 0..n-1 of one split, in consecutive shards."""

    name: str
    shards: Sequence[Columns]
    labelled: bool

    @cached_property
    def starts(self) -> np.ndarray:
        """The first example id of each shard, and n: int64 [shards + 1]."""
        return np.concatenate(([0], np.cumsum([len(shard["label"]) for shard in self.shards], dtype=np.int64)))

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def parts(self) -> "tuple[Split, ...]":
        """The splits that its examples are from: itself, or those that were joined."""
        return (self,)

    def place(self, example: int) -> str:
        """Return where an example is, in words."""
        return f"split {self.name}, example {example}"

    @cached_property
    def sequences(self) -> int:
        """S, the number of inputs that an example has: 1, or that of the choices of a question."""
        first = self.shards[0]
        return np.shape(first[SEQUENCE_LENGTHS])[1] if SEQUENCE_LENGTHS in first else 1  # type: ignore[arg-type]

    def examples_in(self, sequences: int) -> int:
        """Return the number of examples in a batch of about this many sequences, at least 1."""
        return max(1, sequences // self.sequences)

    @cached_property
    def tokens(self) -> np.ndarray:
        """The number of tokens of each example, in all its sequences: int64 [n]."""
        return self.sizes("input_ids")

    def sizes(self, name: str) -> np.ndarray:
        """Return the number of values that each example has in a ragged column: int64 [n]."""
        return np.concatenate([np.diff(shard[name].offsets) for shard in self.shards])  # type: ignore[union-attr]

    @cached_property
    def lengths(self) -> np.ndarray:
        """The number of tokens of the longest sequence of each example, to which batches are padded: int64 [n]."""
        if self.sequences == 1:
            return self.tokens
        return self.column(SEQUENCE_LENGTHS).max(axis=1).astype(np.int64)

    @cached_property
    def labels(self) -> np.ndarray:
        """The label of each example: [n]."""
        return np.concatenate([np.asarray(shard["label"]) for shard in self.shards])

    def column(self, name: str) -> np.ndarray:
        """Return a fixed-width column of every example, [n, width]."""
        return np.concatenate([np.asarray(shard[name]) for shard in self.shards])

    def rows(self, ids: np.ndarray) -> "ExampleRows":
        """Locate these examples in the shards. Raises IndexError for an id outside the split."""
        ids = np.array(ids, np.int64)  # a copy: what was checked here does not change
        if not len(ids) or ids.min() < 0 or ids.max() >= len(self):
            raise IndexError(f"split {self.name} has the examples 0 to {len(self) - 1}")
        return ExampleRows(self, ids)

    def gather(self, name: str, ids: np.ndarray) -> np.ndarray:
        """Return rows of a fixed-width column, in the order of `ids`: [len(ids), width] or [len(ids)]."""
        return self.rows(ids).gather(name)

    def prefetch(self, names: Sequence[str], ids: np.ndarray) -> None:
        """Start reading these rows of fixed-width columns, before they are gathered."""
        for part in self.rows(ids).parts:
            if isinstance(part.shard, Prefetching):
                part.shard.prefetch(names, part.local)

    @property
    def has_token_types(self) -> bool:
        """Whether the examples have token type ids."""
        return "token_type_ids" in self.shards[0]


class HasLabels(Protocol):
    """A split in any form."""

    @property
    def labelled(self) -> bool:
        """Whether its rows have labels."""
        ...


def selection_split(splits: Mapping[str, HasLabels]) -> str | None:
    """Return the split on which weights and trials are selected: the first labelled dev split, None without one."""
    return next((name for name, split in splits.items() if role_of(name) == DEV and split.labelled), None)


@runtime_checkable
class Prefetching(Protocol):
    """A shard that can start reading rows ahead of their use."""

    def prefetch(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Start reading these rows of these columns."""
        ...


class RowsOfShard(NamedTuple):
    """The part of some examples that is in one shard: row numbers there, and positions among the sorted ids."""

    shard: Columns
    local: np.ndarray
    places: slice


class ExampleRows:
    """Some examples of a split, located once for all their columns.

    Made by `Split.rows`, which has checked the ids: so `take` may clip, which is twice as fast as checking each index.
    """

    def __init__(self, split: Split, ids: np.ndarray):
        ids.setflags(write=False)
        self.split, self.ids = split, ids
        self._checked: tuple[bytes, ...] | None = None  # the hashes that `check` has confirmed
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
        """Return a fixed-width column, [n, width] or [n], in the order of the ids; in `out` where that is given."""
        values = self._empty(name) if out is None or self._places is not None else out
        for shard, local, places in self.parts:
            column = shard[name]
            assert isinstance(column, np.ndarray)
            # The method: `np.take` costs a microsecond more, and a batch takes from every column of every shard.
            column.take(local, 0, values[places], "clip")
        if self._places is None:
            return values
        return values.take(self._places, 0, out, "clip")

    def _empty(self, name: str) -> np.ndarray:
        column = self.parts[0].shard[name]
        assert isinstance(column, np.ndarray)
        return np.empty((len(self.ids), *column.shape[1:]), column.dtype)

    def ragged(self, name: str) -> Ragged:
        """Return a ragged column, its rows joined in the order of the ids."""
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
        """Raise `BadCache` unless the stored rows have these ids and these hashes of the tokens in use.

        The error names the first example that does not. A second call with the very same hashes returns at once.
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
                    f"{self.split.place(example)}: the stored row belongs to other tokens "
                    f"(example_id {stored}, row_hash {digest.tobytes().hex()}, expected {expected.hex()}). "
                    f"The cache is damaged: see {shell_line('cache', 'verify', '--help')}"
                )


def slice_examples(split: Split, start: int, stop: int) -> dict[str, Column]:
    """Return examples start..stop-1 of a split, which are in one shard of it, as the columns of a new shard."""
    index = int(np.searchsorted(split.starts, start, side="right")) - 1
    first = int(split.starts[index])
    return slice_columns(split.shards[index], start - first, stop - first)


def rows_digest(columns: Columns) -> str:
    """Return the SHA-256 over what the targets of a shard belong to: its example ids, row hashes and labels.

    The hashes of the texts come before the labels where the texts are kept beside the tokens.
    """
    digest = hashlib.sha256()
    for name, dtype in (("example_id", "<i8"), ("row_hash", "|u1"), (TEXT_HASH, "|u1"), ("label", "<f8")):
        if name in columns or name != TEXT_HASH:
            digest.update(np.ascontiguousarray(columns[name], dtype).tobytes())
    return digest.hexdigest()


def shard_ranges(examples: int, rows: int) -> list[tuple[int, int]]:
    """Return (first example, one after the last) of each shard of `rows` rows."""
    return [(start, min(start + rows, examples)) for start in range(0, examples, rows)]


def split_digest(split: Split, rows: int) -> str:
    """Return the digest of a split in memory as if it were written in shards of `rows` rows."""
    digests = [rows_digest(slice_examples(split, start, stop)) for start, stop in shard_ranges(len(split), rows)]
    return digest_of(digests)


def digest_of(digests: Sequence[str]) -> str:
    """Return the SHA-256 over the row digests of a split's shards."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()
