"""Validation of a manifest that may come from anyone: every field is checked before any of them is used.

docs/cache-format.md lists what is refused.
"""

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.format.manifest import (
    MANIFEST,
    VERSIONS,
    FileRecord,
    Manifest,
    ModelRecord,
    Origin,
    ShardRecord,
    SplitRecord,
    TaskRecord,
)
from pipeline.cache.format.manifest_checks import check_manifest, is_digest
from pipeline.data.task_kinds import TASK_KINDS
from pipeline.errors import BadCache, DamagedCache, LinkedFile, one_line, shell_line
from pipeline.system.lease import PARTIAL
from pipeline.system.system_errors import raise_if_of_system

MAX_BYTES = 64 * 2**20  # of a manifest: 10,000 shards of a 24-layer teacher take 50 MB
# Parsed JSON takes more memory than its text. An honest manifest has 160 bytes an object and 54 a value, and takes four
# times as much; none may be much denser.
_BYTES_AN_OBJECT, _BYTES_A_VALUE = 130, 45
_TAIL = re.compile(rb',\n "digest": "([0-9a-f]{64})"\n}\n')
_UNFIT = re.compile(r"\\u(00[01]|007f|d[89a-f])|[\x7f-\x9f]", re.I)  # what a terminal obeys, halves of characters


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a directory. Raises `BadCache` unless it is a finished cache with a valid manifest."""
    path = directory / MANIFEST
    if directory.is_file():
        raise BadCache(f"{directory} is a file, not a cache. Name the directory of a cache")
    if not directory.is_dir():
        raise BadCache(
            f"{directory}: there is no such cache. "
            f"Make it: {shell_line('cache-teacher', '--cache', directory, '--task', 'TASK')}"
        )
    if not path.is_file():
        if (directory / PARTIAL).is_dir():
            raise BadCache(
                f"{directory} is an unfinished cache. Run its command again (cache-teacher, cache pull "
                "or cache convert), or name another cache"
            )
        raise BadCache(f"{directory} is not a cache (no manifest.json). Name the directory of a cache")
    try:
        if path.is_symlink():
            raise LinkedFile(path, directory)
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise_if_of_system(error)
        raise _damaged(str(path), error) from error
    return parse_manifest(data, str(path))


def parse_manifest(data: bytes, name: str) -> Manifest:
    """Return the manifest in these bytes. Raises `BadCache` naming `name` unless every field is valid."""
    try:
        value = json.loads(checked_text(data), parse_float=_finite, parse_constant=_finite)
        if value["format"] not in VERSIONS:
            raise BadCache(
                f"{name}: its format is version {one_line(value['format'], 20)}, and this program reads versions "
                f"{' and '.join(map(str, VERSIONS))}. Make the cache again with cache-teacher"
            )
        tail = _TAIL.search(data, max(0, len(data) - 90))
        if tail is None or tail.end() != len(data):
            raise ValueError("it does not end with its digest")
        if hashlib.sha256(memoryview(data)[: tail.start()]).hexdigest() != tail[1].decode():
            raise ValueError("its bytes are not those of its digest")
        manifest = _parse(value)
        if value["format"] != manifest.fields.format:
            raise ValueError("its fields are of another version of the format")
        check_manifest(manifest)
        if value["identity"] != manifest.identity or value["content"] != manifest.content:
            raise ValueError("its identity or content digest does not match its fields")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _damaged(name, error) from error
    return manifest


def checked_text(data: bytes) -> str:
    """Return the text of a manifest. Raises ValueError for one that would take much memory or harm a terminal."""
    check_nesting(data)
    text = data.decode()
    if _UNFIT.search(text):
        raise ValueError("it contains control characters")
    return text


def check_nesting(data: bytes) -> None:
    """Raise ValueError for JSON that would take much more memory than its text does."""
    few = 2**14
    objects, values = data.count(b"{") + data.count(b"["), data.count(b",")
    if objects > few + len(data) // _BYTES_AN_OBJECT or values > few + len(data) // _BYTES_A_VALUE:
        raise ValueError("it contains too many values for its size")


def _damaged(name: str, error: Exception) -> DamagedCache:
    reason = one_line(f"{type(error).__name__}: {error}", 160)
    repair = ("cache", "verify", Path(name).parent, "--repair", "--from", "COPY")
    way_on = "Push the cache to another URL" if "://" in name else f"Take it from a good copy: {shell_line(*repair)}"
    return DamagedCache(f"{name} is damaged ({reason}). {way_on}")


def _parse(value: Any) -> Manifest:
    splits = {name: _split(split, value["format"]) for name, split in _typed(value["splits"], dict).items()}
    task = value["task"]
    return Manifest(
        _identity(_typed(value["fields"], dict)),
        _typed(value["container"], str),
        TaskRecord(
            _typed(task["name"], str),
            tuple(_typed(label, str) for label in _typed(task["labels"] or [], list)),
            tuple(_typed(metric, str) for metric in _typed(task["metrics"], list)),
            _typed(task.get("settings", {}), dict),
            tuple(_typed(column, str) for column in _typed(task.get("text_columns", []), list)),
        ),
        _record(ModelRecord, value["model"]),
        splits,
        {name: _record(FileRecord, record) for name, record in _typed(value["teacher_files"], dict).items()},
        _typed(value["teacher_metrics"], dict),
        None if value["derived_from"] is None else _record(Origin, value["derived_from"]),
        _typed(value["made"], dict),
    )


def _split(value: Any, version: int) -> SplitRecord:
    """Return the record of a split. Raises ValueError for entries that are missing, unknown or of another type."""
    shards = tuple(_record(ShardRecord, shard) for shard in _typed(value["shards"], list))
    counted = (_typed(value["labelled_examples"], int),) if version > 2 else ()
    if counted and counted[0] < 0:
        raise ValueError(f"{counted[0]} examples with labels")
    split = SplitRecord(_typed(value["labelled"], bool), shards, *counted)
    if set(value) != set(split.as_json(version)):
        raise ValueError(f"a split has {', '.join(value)!s:.100}")
    return split


def _identity(value: dict[str, Any]) -> CacheIdentity:
    """Return the identity. Raises ValueError for fields that are missing, unknown, of another type or out of range."""
    types = _types(CacheIdentity)
    if not set(value) <= set(types):
        raise ValueError(f"its fields are {', '.join(value)!s:.100}")
    for name, item in value.items():
        expected = types[name]
        kind = list if get_origin(expected) is tuple else dict if get_origin(expected) is Mapping else expected
        allowed = kind | None if name == "labels" else kind
        lowest = 0 if name == "texts" else 1
        if not isinstance(item, allowed) or (kind is int and not lowest <= _typed(item, int) < 2**31):
            raise ValueError(f"{name} is {item!r:.30}")
    for layer in value["layers"]:
        _typed(layer, int)
    identity = CacheIdentity.from_json(value)
    if identity.kind not in TASK_KINDS or identity.as_json() != value:
        raise ValueError("its fields are of another kind of cache")
    return identity


def shard_record(value: Any) -> ShardRecord:
    """Return the record of a shard from JSON. Raises ValueError, KeyError, TypeError or AttributeError."""
    record: ShardRecord = _record(ShardRecord, value)
    return record


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is not a finite number")
    return number


def _typed(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{value!r:.40} is not a {kind.__name__}")
    return value


@functools.cache
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _record(kind: Any, value: Mapping[str, Any]) -> Any:
    """Return a dataclass from a JSON object that has exactly its fields: numbers not negative and below 2^63."""
    types = _types(kind)
    if set(_typed(value, dict)) != set(types):
        raise ValueError(f"{kind.__name__} has fields {', '.join(value)}")
    values = dict(value)
    for name, expected in types.items():
        if get_origin(expected) is not None:  # Mapping[str, record]
            values[name] = {key: _record(get_args(expected)[1], v) for key, v in _typed(value[name], dict).items()}
            continue
        _typed(value[name], expected)
        if expected is int and not 0 <= value[name] < 2**63:
            raise ValueError(f"{name} is {value[name]!s:.30}")
        if name in ("sha256", "rows_digest", "identity", "content") and not is_digest(value[name]):
            raise ValueError(f"{name} is not a SHA-256")
    return kind(**values)
