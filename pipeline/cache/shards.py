"""The shards of a cache as the columns of a `Split`: opened when first used, in each process for itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.shard_sources import Source
from pipeline.data.ragged import Column, Ragged
from pipeline.data.splits import ROW_HASH_BYTES, SEQUENCE_LENGTHS, Split, row_hashes
from pipeline.data.texts import check_texts, text_hashes
from pipeline.errors import BadCache
from pipeline.system.cpu import memory_bytes
from pipeline.system.digests import bytes_digest


class Shard(Mapping[str, Column]):
    """The columns of one shard as views of its bytes. A column is checked when it is first used.

    Getting one raises `BadCache` for impossible values: token ids outside the vocabulary, labels outside the classes,
    example ids that do not continue those of the shard before, rows without tokens, texts that are not UTF-8.
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
        return 2 * shards * sum(self.record.parts[name].bytes for name in names) <= memory_bytes()

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
        elif self.types[name].text:
            check_texts(name, column)  # type: ignore[arg-type]
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
        split, kind, classes = self.manifest.splits[self.split], self.manifest.kind, self.manifest.model.classes
        if split.labelled_examples == split.examples:
            kind.check_labels(labels, classes, True)
            return
        present = kind.has_label(labels)
        missing = labels[~present]
        kind.check_labels(labels[present], classes, split.labelled)
        if not np.array_equal(missing, kind.without_labels(len(missing), classes), equal_nan=True):
            raise ValueError("a label is neither one of the task nor the mark of a missing one")

    def damaged_parts(self) -> list[str]:
        """Return the parts whose bytes differ from the manifest. Raises `BadCache` where the file cannot be read."""
        parts = self.record.parts.items()
        return [part for part, extent in parts if bytes_digest(self.source.part(self.record, part)) != extent.sha256]

    def what_differs(self) -> str | None:
        """Return the differences from the manifest as text (damaged parts, first row of another hash), or None."""
        damaged = self.damaged_parts()
        differences = [f"the bytes of {', '.join(damaged)} are not those of the manifest"] if damaged else []
        keys = {"tokens": "row_hash" if self.manifest.has_teacher else None, "texts": self.manifest.text_key}
        for content, column in keys.items():
            try:
                example = self._row_of_another_hash(content, column) if column else None
            except BadCache:  # bytes that cannot be tokens or texts
                example = None
            if example is not None:
                differences.append(f"the {content} of example {example} have another {column}")
        return "; ".join(differences) or None

    def _row_of_another_hash(self, content: str, column: str) -> int | None:
        """Return the id of the first example whose tokens or texts do not have their stored hash; None if all have."""
        hashes = np.asarray(self._view(column))
        computed = self._token_hashes() if content == "tokens" else text_hashes(self._texts())
        differs = (computed != hashes).any(axis=1)
        return self.first_id + int(differs.argmax()) if differs.any() else None

    def _texts(self) -> list[Ragged]:
        return [self._view(name) for name in self.manifest.text_names]  # type: ignore[misc]

    def _token_hashes(self) -> np.ndarray:
        """Return the hash of the tokens of every example, uint8 [rows, 16]."""
        tokens = self._view("input_ids")
        lengths = self._view(SEQUENCE_LENGTHS) if SEQUENCE_LENGTHS in self else None
        assert isinstance(tokens, Ragged) and not isinstance(lengths, Ragged)
        hashes = b"".join(row_hashes(tokens, lengths))
        return np.frombuffer(hashes, np.uint8).reshape(-1, ROW_HASH_BYTES)


def open_split(source: Source, manifest: Manifest, name: str) -> Split:
    """Return a split of a cache; its shards are opened when they are first used."""
    record = manifest.splits[name]
    return Split(name, [Shard(source, manifest, name, index) for index in range(len(record.shards))], record.labelled)


def _within(name: str, values: np.ndarray, lowest: int, above: int) -> None:
    if values.min() < lowest or values.max() >= above:
        raise ValueError(f"{name} holds {values.min()}..{values.max()}, not {lowest}..{above - 1}")
