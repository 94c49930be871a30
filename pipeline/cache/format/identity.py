"""Everything that a cache was made from: two caches of one identity have the same targets."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from pipeline.data.task_kinds import implied_kind
from pipeline.errors import one_line
from pipeline.system.digests import json_digest

# Fields of a cache whose teacher is a model, with their values where the targets were made elsewhere.
OF_A_MODEL: Mapping[str, Any] = {
    "teacher_weights": "",
    "teacher_config": "",
    "teacher_tokenizer": "",
    "max_length": 0,
    "compute": "",
    "batching": "",
}
MODEL_NAME = "model"  # in results, in place of the name of a teacher: a model ran here
LONGEST_NAME = 200  # characters


def is_teacher_name(name: str) -> bool:
    """Return whether a teacher elsewhere can be called so: some characters on one line, other than `model`."""
    return bool(name.strip()) and name != MODEL_NAME and len(name) <= LONGEST_NAME and one_line(name) == name


@dataclass(frozen=True, kw_only=True)
class CacheIdentity:
    """The fields that decide the targets of a cache. The container is not one of them.

    Targets that were made elsewhere have a `teacher_name` and `target_values`, and no fields of a model.
    """

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
    texts: int = 0  # text columns that are kept, without those of choices; from version 3 of the format
    teacher_name: str = ""  # of targets that were made elsewhere; empty: the teacher is a model
    target_values: str = ""  # SHA-256 of such targets

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CacheIdentity":
        """Return the identity with these fields. Raises TypeError, ValueError or KeyError for others."""
        labels = tuple(value["labels"] or ())
        values = {**value, "layers": tuple(value["layers"]), "labels": labels}
        return cls(**{"kind": implied_kind(labels).name, **(OF_A_MODEL if "teacher_name" in value else {}), **values})

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they are in the manifest, in their order there."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {"layers": list(self.layers), "labels": list(self.labels) or None, "splits": dict(self.splits)}
        left_out = set(OF_A_MODEL) if self.teacher_name else {"teacher_name", "target_values"}
        if self.kind == implied_kind(self.labels).name:
            left_out.add("kind")
        if self.format < 3:
            left_out.add("texts")
        return {name: item for name, item in values.items() if name not in left_out}

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
