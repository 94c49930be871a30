"""The shards of a cache as the columns of a `Split`: opened when first used, in each process for itself."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.shard_sources import Source
from pipeline.data.ragged import Column, Ragged
from pipeline.data.splits import SEQUENCE_LENGTHS, Split, row_hashes
from pipeline.data.tasks import TRAIN, role_of
from pipeline.errors import BadCache
from pipeline.system.digests import bytes_digest


class Shard(Mapping[str, Column]):
    """The columns of one shard as views of its bytes. A column is checked when it is first used.

    Getting one raises `BadCache` for impossible values: token ids outside the vocabulary, labels outside the classes,
    example ids that do not continue those of the shard before, empty rows.
    """

    def __init__(self, source: Source, manifest: Manifest, split: str, index: int):
        self.source, self.manifest, self.split = source, manifest, split
        self.record = manifest.splits[split].shards[index]
        self.first_id = index * manifest.fields.shard_rows
        self.types = manifest.column_types()
        self._columns: dict[str, Column] = {}
        self._prefetched: dict[tuple[str, ...], np.ndarray] = {}  # columns -> bool [rows]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_columns": {}, "_prefetched": {}}

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
        """Announce that rows of these fixed-width columns will be read soon: once only, where they stay in memory."""
        rows = self._not_prefetched(tuple(names), rows)
        if len(rows):
            for name in names:
                length = self.types[name].bytes(1)
                self.source.will_need(self.record, name, rows * length, length)

    def _not_prefetched(self, names: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
        """Return the rows to prefetch now: all of them where the columns do not fit in memory."""
        if names not in self._prefetched:
            self._prefetched[names] = np.zeros(self.record.rows if self._fits(names) else 0, bool)
        prefetched = self._prefetched[names]
        if not len(prefetched):
            return rows
        rows = rows[~prefetched[rows]]
        prefetched[rows] = True
        return rows

    def _fits(self, names: Sequence[str]) -> bool:
        """Return whether these columns of all shards fill no more than half of this machine's memory."""
        shards = len(self.manifest.splits[self.split].shards)
        return 2 * shards * sum(self.record.parts[name].bytes for name in names) <= _memory_bytes()

    def _view(self, name: str) -> Column:
        """Return a column with unchecked values."""
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
            self._check_labels(column)  # type: ignore[arg-type]
        elif name == "input_ids":
            _within("input_ids", column.values, 0, model.vocabulary)  # type: ignore[union-attr]
            longest = np.diff(column.offsets).max()  # type: ignore[union-attr]
            allowed = self.manifest.fields.max_length * self.manifest.fields.sequences
            if longest > allowed:
                raise ValueError(f"a row of input_ids has {longest} tokens, and the longest may have {allowed}")
        elif name == SEQUENCE_LENGTHS:
            _within(name, column, 1, self.manifest.fields.max_length + 1)  # type: ignore[arg-type]
            tokens = np.diff(self["input_ids"].offsets)  # type: ignore[union-attr]
            if not np.array_equal(column.sum(axis=1, dtype=np.int64), tokens):  # type: ignore[union-attr]
                raise ValueError("the sequences of a row are not as long as its tokens")
        elif name == "token_type_ids":
            _within("token_type_ids", column.values, 0, model.token_types)  # type: ignore[union-attr]
            if not np.array_equal(column.offsets, self["input_ids"].offsets):  # type: ignore[union-attr]
                raise ValueError("the ragged columns differ in the lengths of their rows")

    def _check_labels(self, labels: np.ndarray) -> None:
        """Raise ValueError for labels that cannot be; rows without one may be among those of a training split."""
        kind, classes = self.manifest.kind, self.manifest.model.classes
        labelled = self.manifest.splits[self.split].labelled
        if labelled and role_of(self.split) == TRAIN and not (has_label := kind.has_label(labels)).all():
            missing = labels[~has_label]
            if not np.array_equal(
                missing, kind.without_labels(len(missing), classes), equal_nan=missing.dtype.kind == "f"
            ):
                raise ValueError("a label is neither one of the task nor the mark of a missing one")
            labels = labels[has_label]
        kind.check_labels(labels, classes, labelled)

    def damaged_parts(self) -> list[str]:
        """Return the parts whose bytes differ from the manifest. Raises `BadCache` where the file cannot be read."""
        parts = self.record.parts.items()
        return [part for part, extent in parts if bytes_digest(self.source.part(self.record, part)) != extent.sha256]

    def what_differs(self) -> str | None:
        """Return the differences from the manifest as text (damaged parts, first row with other tokens), or None."""
        damaged = self.damaged_parts()
        differences = [f"the bytes of {', '.join(damaged)} are not those of the manifest"] if damaged else []
        try:
            example = self.row_of_other_tokens()
        except BadCache:  # bytes that cannot be tokens
            example = None
        if example is not None:
            differences.append(f"the tokens of example {example} have another row_hash")
        return "; ".join(differences) or None

    def row_of_other_tokens(self) -> int | None:
        """Return the id of the first example whose tokens do not have its stored row hash; None if all have."""
        tokens, hashes = self._view("input_ids"), self._view("row_hash")
        lengths = self._view(SEQUENCE_LENGTHS) if SEQUENCE_LENGTHS in self else None
        assert isinstance(tokens, Ragged) and isinstance(hashes, np.ndarray) and not isinstance(lengths, Ragged)
        for row, row_hash in enumerate(row_hashes(tokens, lengths)):
            if row_hash != hashes[row].tobytes():
                return self.first_id + row
        return None


def open_split(source: Source, manifest: Manifest, name: str) -> Split:
    """Return a split of a cache; its shards are opened when they are first used."""
    record = manifest.splits[name]
    return Split(name, [Shard(source, manifest, name, index) for index in range(len(record.shards))], record.labelled)


@cache
def _memory_bytes() -> int:
    """Return the bytes of this machine's memory; 0 where the system does not report them."""
    if not hasattr(os, "sysconf") or not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _within(name: str, values: np.ndarray, lowest: int, above: int) -> None:
    if values.min() < lowest or values.max() >= above:
        raise ValueError(f"{name} holds {values.min()}..{values.max()}, not {lowest}..{above - 1}")
