"""manifest.json: what a cache was made from, its contents, and the digest of each of its files.

It is written last, by rename: a directory without it is not a cache.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.cache.format.columns import ColumnType, column_types
from pipeline.cache.format.identity import CacheIdentity
from pipeline.data.splits import TEXT_HASH
from pipeline.data.task_kinds import TASK_KINDS, TaskKind
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.texts import text_names
from pipeline.system.digests import json_digest
from pipeline.system.files import write_text

FORMAT_VERSION = 3
VERSIONS = (2, FORMAT_VERSION)  # that are read; version 2 does not have texts
MANIFEST = "manifest.json"
TEACHER = "teacher"
TEACHER_SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".jinja")  # nothing that is code


@dataclass(frozen=True)
class Extent:
    """One part of a column: its offset in the shard's file, its size, and the SHA-256 of its bytes."""

    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class FileRecord:
    """A file: its size and the SHA-256 of its bytes."""

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
        """The SHA-256 of the shard's columns, whatever the container."""
        return json_digest({name: extent.sha256 for name, extent in self.parts.items()})


@dataclass(frozen=True)
class SplitRecord:
    """A split: whether any of its rows has a label, its shards, and how many of its rows have one."""

    labelled: bool
    shards: tuple[ShardRecord, ...]
    labelled_examples: int = -1  # -1: all of a labelled split, none of another

    def __post_init__(self) -> None:
        if self.labelled_examples == -1:
            object.__setattr__(self, "labelled_examples", self.examples if self.labelled else 0)

    @property
    def examples(self) -> int:
        """The number of examples."""
        return sum(shard.rows for shard in self.shards)

    def as_json(self, version: int) -> dict[str, Any]:
        """Return it as it is in a manifest of this version."""
        counted = {"labelled_examples": self.labelled_examples} if version > 2 else {}
        return {"labelled": self.labelled, **counted, "shards": [asdict(shard) for shard in self.shards]}


@dataclass(frozen=True)
class ModelRecord:
    """The facts about the teacher that a student needs before opening it; `without_model` where it is not a model."""

    type: str
    depth: int  # L
    hidden: int  # H
    classes: int  # C
    pad_id: int
    token_types: int  # number of token types; 0: the model does not have any
    vocabulary: int

    @classmethod
    def without_model(cls, classes: int) -> "ModelRecord":
        """Return the record of a cache whose targets were made elsewhere: the number of classes alone."""
        return cls(type="", depth=0, hidden=0, classes=classes, pad_id=0, token_types=0, vocabulary=0)


@dataclass(frozen=True)
class TaskRecord:
    """The task: names of its classes (empty where the kind does not have any), metrics, the first of which selects.

    `settings` are those of the teacher's predictions, and `text_columns` the names of the columns of texts in the rows
    (without those of choices), where they are known; without any, the entries are not in the file.
    """

    name: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    settings: Mapping[str, float] = field(default_factory=dict)
    text_columns: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as it is in the manifest."""
        value = {"name": self.name, "labels": self.labels or None, "metrics": self.metrics}
        settings = {"settings": dict(self.settings)} if self.settings else {}
        return value | settings | ({"text_columns": self.text_columns} if self.text_columns else {})


@dataclass(frozen=True)
class Origin:
    """The cache that a converted one was made from."""

    identity: str
    content: str


@dataclass(frozen=True)
class Manifest:
    """The manifest of a finished cache, or of one that is being written."""

    fields: CacheIdentity
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
        """The digest of everything that the cache was made from."""
        return self.fields.digest

    @property
    def kind(self) -> TaskKind:
        """The kind of task, with the settings of the teacher."""
        return TASK_KINDS[self.fields.kind].with_settings(self.task.settings)

    @property
    def task_metrics(self) -> TaskMetrics:
        """The metrics of the task, of the teacher's predictions."""
        return TaskMetrics(self.kind, self.task.metrics, self.task.labels)

    @property
    def content(self) -> str:
        """The SHA-256 over the shards' digests: two copies differ in it if a value differs, whatever the container."""
        return hashlib.sha256("".join(shard.digest for _, shard in self.shards()).encode()).hexdigest()

    @property
    def has_teacher(self) -> bool:
        """Whether the teacher, and the tokens that it reads, are in the cache; else its targets were made elsewhere."""
        return not self.fields.teacher_name

    @property
    def teacher_called(self) -> str:
        """The name or the place of the teacher, as the cache has it; empty where it does not."""
        return self.fields.teacher_name or str(self.made.get("teacher") or "")

    @property
    def text_key(self) -> str | None:
        """The column that identifies the texts of an example; None where texts are not kept."""
        if not self.fields.texts:
            return None
        return TEXT_HASH if self.has_teacher else "row_hash"

    @property
    def text_names(self) -> tuple[str, ...]:
        """The columns of texts, those of choices last; none where texts are not kept."""
        return text_names(self.fields.texts, self.fields.sequences)

    @property
    def texts_per_input(self) -> int:
        """The number of texts that a tokenizer gets for an input: 1, or 2 for pairs and for questions with choices."""
        return 2 if self.fields.sequences > 1 else max(1, self.fields.texts)

    @property
    def layers(self) -> tuple[int, ...]:
        """The teacher layers whose [CLS] vectors are kept."""
        return self.fields.layers

    @property
    def dtype(self) -> str:
        """The stored type of the [CLS] vectors."""
        return self.fields.dtype

    @property
    def bytes(self) -> int:
        """The size of all shards."""
        return sum(shard.bytes for _, shard in self.shards())

    def shards(self) -> Iterator[tuple[str, ShardRecord]]:
        """Return (split, shard) of every shard, in order."""
        return ((name, shard) for name, split in self.splits.items() for shard in split.shards)

    def files(self) -> dict[str, FileRecord]:
        """Return every file of the cache but the manifest, by its path in it."""
        shards = {shard.file: FileRecord(shard.bytes, shard.sha256) for _, shard in self.shards()}
        return {f"{TEACHER}/{name}": record for name, record in self.teacher_files.items()} | shards

    def column_types(self) -> dict[str, ColumnType]:
        """Return all columns of a shard, in their order."""
        return column_types(
            num_logits=self.model.classes,
            label_dtype=self.kind.label_dtype,
            label_width=self.kind.label_width(self.model.classes),
            token_types=self.model.token_types > 0,
            layers=self.layers,
            hidden=self.model.hidden,
            dtype=self.dtype,
            sequences=self.fields.sequences,
            tokens=self.has_teacher,
            texts=self.fields.texts,
        )

    def text(self) -> str:
        """Return the text of manifest.json: its last line but one is the digest of all the text before it."""
        version = self.fields.format
        value = {"format": version, "identity": self.identity, "content": self.content}
        parts: dict[str, Any] = {"fields": self.fields.as_json(), "task": self.task.as_json()}
        parts["splits"] = {name: split.as_json(version) for name, split in self.splits.items()}
        body = json.dumps(value | asdict(self) | parts, indent=1, ensure_ascii=False, allow_nan=False)
        body = body.removesuffix("\n}")
        return f'{body},\n "digest": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'

    def write(self, directory: Path) -> None:
        """Write manifest.json into the directory of the cache."""
        write_text(directory / MANIFEST, self.text())
