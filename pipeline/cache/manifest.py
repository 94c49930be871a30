"""manifest.json: what a cache was made from, what it holds, and the digest of each of its files.

It is written last, by rename: a directory without it is no cache.
"""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from pipeline.cache.columns import ColumnType, column_types
from pipeline.cache.containers import container
from pipeline.errors import BadCache
from pipeline.files import read_json, write_json
from pipeline.fingerprint import json_digest

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
TEACHER = "teacher"


@dataclass(frozen=True)
class ShardRecord:
    """One file of a split: its path in the cache, size, SHA-256, and the digest of the rows it belongs to."""

    file: str
    rows: int
    bytes: int
    sha256: str
    rows_digest: str


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
    token_types: bool
    vocabulary: int


@dataclass(frozen=True)
class TaskRecord:
    name: str
    labels: tuple[str, ...] | None  # None: regression
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """`fields` are what decides the cache's identity; the container is no part of it."""

    fields: Mapping[str, Any]
    container: str
    task: TaskRecord
    model: ModelRecord
    splits: Mapping[str, SplitRecord] = field(default_factory=dict)
    teacher_files: Mapping[str, str] = field(default_factory=dict)  # name in teacher/ -> SHA-256
    teacher_metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return json_digest(self.fields)

    @property
    def content(self) -> str:
        """SHA-256 over the shards' digests: tells two copies apart."""
        digests = [shard.sha256 for split in self.splits.values() for shard in split.shards]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.fields["layers"])

    @property
    def dtype(self) -> str:
        return str(self.fields["dtype"])

    @property
    def bytes(self) -> int:
        """Of all shards."""
        return sum(shard.bytes for split in self.splits.values() for shard in split.shards)

    def column_types(self) -> dict[str, ColumnType]:
        return column_types(
            classes=self.model.classes,
            regression=self.task.labels is None,
            token_types=self.model.token_types,
            layers=self.layers,
            hidden=self.model.hidden,
            dtype=self.dtype,
        )

    def write(self, directory: Path) -> None:
        value = {"format": FORMAT_VERSION, "identity": self.identity, "content": self.content}
        write_json(directory / MANIFEST, value | dataclasses.asdict(self))


def read_manifest(directory: Path) -> Manifest:
    """Raises `BadCache` for a directory that is no finished cache, or a manifest that does not hold together."""
    path = directory / MANIFEST
    if directory.is_file():
        raise BadCache(f"{directory} is a file, no cache. Name the directory of a cache")
    if not directory.is_dir():
        raise BadCache(
            f"{directory}: there is no such cache. Make it: cli.py cache-teacher --cache {directory} --task …"
        )
    if not path.is_file():
        state = "an unfinished cache" if (directory / ".partial").is_dir() else "no cache (it has no manifest.json)"
        raise BadCache(f"{directory} is {state}. Run cache-teacher, again if it was stopped, or name another --cache")
    try:
        value = read_json(path)
        if value["format"] != FORMAT_VERSION:
            raise BadCache(
                f"{directory}: its format is version {value['format']}, and this program reads version "
                f"{FORMAT_VERSION}. Make it again with cache-teacher"
            )
        manifest = _parse(value)
        if value["identity"] != manifest.identity or value["content"] != manifest.content:
            raise ValueError("its identity or content digest does not match its fields")
        manifest.column_types()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise BadCache(f"{path} is damaged ({reason}). Make the cache again with cache-teacher") from error
    return manifest


def _parse(value: Any) -> Manifest:
    splits = {}
    for name, split in value["splits"].items():
        shards = tuple(_record(ShardRecord, shard) for shard in split["shards"])
        suffix = container(value["container"]).SUFFIX
        for index, shard in enumerate(shards):
            if not re.fullmatch(r"[a-z]\w*", name, re.ASCII) or shard.file != f"{name}/{index:05d}{suffix}":
                raise ValueError(f"{shard.file!r} is not the name of shard {index} of split {name}")
        splits[name] = SplitRecord(_typed(split["labelled"], bool), shards)
    for file in value["teacher_files"]:
        if Path(file).name != file or file in (".", ".."):
            raise ValueError(f"teacher file {file!r} lies outside teacher/")
    return Manifest(
        _typed(value["fields"], dict),
        _typed(value["container"], str),
        TaskRecord(
            _typed(value["task"]["name"], str),
            None if value["task"]["labels"] is None else tuple(value["task"]["labels"]),
            tuple(value["task"]["metrics"]),
        ),
        _record(ModelRecord, value["model"]),
        splits,
        _typed(value["teacher_files"], dict),
        _typed(value["teacher_metrics"], dict),
        _typed(value["made"], dict),
    )


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _record(kind: Any, value: Mapping[str, Any]) -> Any:
    """A dataclass of plain values from a JSON object that has exactly its fields, numbers not negative."""
    types: dict[str, Any] = get_type_hints(kind)
    if set(value) != set(types):
        raise ValueError(f"{kind.__name__} has fields {', '.join(value)}")
    for name, expected in types.items():
        if _typed(value[name], expected) and expected is int and value[name] < 0:
            raise ValueError(f"{name} is negative")
    return kind(**value)
