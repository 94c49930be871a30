"""manifest.json: what a cache was made from, what it holds, and the digest of each of its files.

It is written last, by rename: a directory without it is no cache.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.cache.format.columns import ColumnType, column_types
from pipeline.system.digests import json_digest
from pipeline.system.files import write_text

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
TEACHER = "teacher"
TEACHER_SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".jinja")  # nothing that is code


@dataclass(frozen=True)
class Extent:
    """One part of a column: where it lies in the shard's file, its size, and the SHA-256 of its bytes."""

    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class FileRecord:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardRecord:
    """One file of a split: its path in the cache, size, SHA-256, the digest of the rows it belongs to, its parts."""

    file: str
    rows: int
    bytes: int
    sha256: str
    rows_digest: str
    parts: Mapping[str, Extent]

    @property
    def digest(self) -> str:
        """SHA-256 of what the shard holds, whatever the container."""
        return json_digest({name: extent.sha256 for name, extent in self.parts.items()})


@dataclass(frozen=True)
class SplitRecord:
    labelled: bool
    shards: tuple[ShardRecord, ...]

    @property
    def examples(self) -> int:
        return sum(shard.rows for shard in self.shards)


@dataclass(frozen=True)
class ModelRecord:
    """What a student must know of the teacher before opening it."""

    type: str
    depth: int  # L
    hidden: int  # H
    classes: int  # C
    pad_id: int
    token_types: int  # number of token types; 0: the model has none
    vocabulary: int


@dataclass(frozen=True)
class TaskRecord:
    name: str
    labels: tuple[str, ...] | None  # None: regression
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """The cache that a converted one was made from."""

    identity: str
    content: str


@dataclass(frozen=True)
class Manifest:
    """`fields` are what decides the cache's identity; the container is no part of it."""

    fields: Mapping[str, Any]
    container: str
    task: TaskRecord
    model: ModelRecord
    splits: Mapping[str, SplitRecord] = field(default_factory=dict)
    teacher_files: Mapping[str, FileRecord] = field(default_factory=dict)  # by name in teacher/
    teacher_metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    derived_from: Origin | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return json_digest(self.fields)

    @property
    def content(self) -> str:
        """SHA-256 over the shards' digests: tells two copies apart, in whichever container."""
        return hashlib.sha256("".join(shard.digest for _, shard in self.shards()).encode()).hexdigest()

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.fields["layers"])

    @property
    def dtype(self) -> str:
        return str(self.fields["dtype"])

    @property
    def bytes(self) -> int:
        """Of all shards."""
        return sum(shard.bytes for _, shard in self.shards())

    def shards(self) -> Iterator[tuple[str, ShardRecord]]:
        """(split, shard) of every shard, in order."""
        return ((name, shard) for name, split in self.splits.items() for shard in split.shards)

    def files(self) -> dict[str, FileRecord]:
        """Every file of the cache but the manifest, by its path in it."""
        shards = {shard.file: FileRecord(shard.bytes, shard.sha256) for _, shard in self.shards()}
        return {f"{TEACHER}/{name}": record for name, record in self.teacher_files.items()} | shards

    def column_types(self) -> dict[str, ColumnType]:
        return column_types(
            classes=self.model.classes,
            regression=self.task.labels is None,
            token_types=self.model.token_types > 0,
            layers=self.layers,
            hidden=self.model.hidden,
            dtype=self.dtype,
        )

    def text(self) -> str:
        """The bytes of manifest.json: the last line but one is the digest of all that stands before it."""
        value = {"format": FORMAT_VERSION, "identity": self.identity, "content": self.content}
        body = json.dumps(value | dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        body = body.removesuffix("\n}")
        return f'{body},\n "digest": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'

    def write(self, directory: Path) -> None:
        write_text(directory / MANIFEST, self.text())
