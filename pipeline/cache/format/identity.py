"""Everything that a cache was made from: two caches of one identity have the same targets."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from pipeline.data.task_kinds import implied_kind
from pipeline.system.digests import json_digest


@dataclass(frozen=True, kw_only=True)
class CacheIdentity:
    """The fields that decide the targets of a cache. The container is not one of them."""

    format: int
    teacher_weights: str  # SHA-256, as the next two
    teacher_config: str
    teacher_tokenizer: str
    splits: Mapping[str, str]  # name -> digest of its rows
    max_length: int  # tokens
    layers: tuple[int, ...]  # of the teacher, whose [CLS] vectors are kept
    labels: tuple[str, ...]  # empty where the kind of task does not have classes
    shard_rows: int  # examples per shard
    dtype: str  # of the [CLS] vectors
    compute: str  # precision of the teacher pass
    batching: str
    sequences: int  # per example
    kind: str  # of the task; left out of the file where the labels imply it

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CacheIdentity":
        """Return the identity with these fields. Raises TypeError, ValueError or KeyError for others."""
        labels = tuple(value["labels"] or ())
        values = {**value, "layers": tuple(value["layers"]), "labels": labels}
        return cls(**{"kind": implied_kind(labels).name, **values})

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they are in the manifest, in their order there."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {"layers": list(self.layers), "labels": list(self.labels) or None, "splits": dict(self.splits)}
        if self.kind == implied_kind(self.labels).name:
            del values["kind"]
        return values

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the fields, called the cache's identity."""
        return json_digest(self.as_json())


def different_fields(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the identity fields in which two caches differ, as 'name: theirs ≠ ours'."""
    lines = []
    for name in sorted(set(ours) | set(theirs)):
        a, b = theirs.get(name), ours.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += different_fields(b, a, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"{prefix}{name}: {_short(a)} ≠ {_short(b)}")
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return text[:8] + "…" if len(text) == 64 else text
