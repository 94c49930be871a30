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

from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.format.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    TEACHER_SUFFIXES,
    FileRecord,
    Manifest,
    ModelRecord,
    Origin,
    ShardRecord,
    SplitRecord,
    TaskRecord,
)
from pipeline.data.metrics import check_metric
from pipeline.data.splits import digest_of
from pipeline.data.task_kinds import TASK_KINDS
from pipeline.data.tasks import TASK_NAME
from pipeline.errors import BadCache, DamagedCache, LinkedFile, one_line, shell_line
from pipeline.system.lease import PARTIAL
from pipeline.system.system_errors import raise_if_of_system

COMPUTE = ("bfloat16", "float32")
MOST_REPETITIONS = 1_000  # of one layer
MAX_BYTES = 64 * 2**20  # of a manifest: 10,000 shards of a 24-layer teacher take 50 MB
# Parsed JSON takes more memory than its text. An honest manifest has 160 bytes an object and 54 a value, and takes four
# times as much; none may be much denser.
_BYTES_AN_OBJECT, _BYTES_A_VALUE = 130, 45
_TAIL = re.compile(rb',\n "digest": "([0-9a-f]{64})"\n}\n')
_UNFIT = re.compile(r"\\u(00[01]|007f|d[89a-f])|[\x7f-\x9f]", re.I)  # what a terminal obeys, halves of characters
_DIGEST = re.compile(r"[0-9a-f]{64}")


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
        if value["format"] != FORMAT_VERSION:
            raise BadCache(
                f"{name}: its format is version {one_line(value['format'], 20)}, and this program reads version "
                f"{FORMAT_VERSION}. Make the cache again with cache-teacher"
            )
        tail = _TAIL.search(data, max(0, len(data) - 90))
        if tail is None or tail.end() != len(data):
            raise ValueError("it does not end with its digest")
        if hashlib.sha256(memoryview(data)[: tail.start()]).hexdigest() != tail[1].decode():
            raise ValueError("its bytes are not those of its digest")
        manifest = _parse(value)
        _check(manifest)
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
    splits = {
        name: SplitRecord(_typed(split["labelled"], bool), tuple(_record(ShardRecord, s) for s in split["shards"]))
        for name, split in _typed(value["splits"], dict).items()
    }
    task = value["task"]
    return Manifest(
        _identity(_typed(value["fields"], dict)),
        _typed(value["container"], str),
        TaskRecord(
            _typed(task["name"], str),
            tuple(_typed(label, str) for label in _typed(task["labels"] or [], list)),
            tuple(_typed(metric, str) for metric in _typed(task["metrics"], list)),
            _typed(task.get("settings", {}), dict),
        ),
        _record(ModelRecord, value["model"]),
        splits,
        {name: _record(FileRecord, record) for name, record in _typed(value["teacher_files"], dict).items()},
        _typed(value["teacher_metrics"], dict),
        None if value["derived_from"] is None else _record(Origin, value["derived_from"]),
        _typed(value["made"], dict),
    )


def _identity(value: dict[str, Any]) -> CacheIdentity:
    """Return the identity. Raises ValueError for fields that are missing, unknown, of another type or out of range."""
    types = _types(CacheIdentity)
    if set(value) - {"kind"} != set(types) - {"kind"}:
        raise ValueError(f"its fields are {', '.join(value)!s:.100}")
    for name, item in value.items():
        expected = types[name]
        kind = list if get_origin(expected) is tuple else dict if get_origin(expected) is Mapping else expected
        allowed = kind | None if name == "labels" else kind
        if not isinstance(item, allowed) or (kind is int and not 0 < _typed(item, int) < 2**31):
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
        if name in ("sha256", "rows_digest", "identity", "content") and not _DIGEST.fullmatch(value[name]):
            raise ValueError(f"{name} is not a SHA-256")
    return kind(**values)


def _check(manifest: Manifest) -> None:
    """Raise ValueError where parts of a manifest contradict each other or would lead outside the directory."""
    fields, model, suffix = manifest.fields, manifest.model, CONTAINERS[manifest.container].suffix
    if fields.format != FORMAT_VERSION or fields.compute not in COMPUTE:
        raise ValueError("its fields are of another kind of cache")
    if not fields.splits or list(manifest.splits) != list(fields.splits):
        raise ValueError("its splits are not those of its fields")
    layer_files = sum(re.fullmatch(r"layer-\d\d+\.safetensors", file) is not None for file in manifest.teacher_files)
    repeated = layer_files == 0 and model.depth <= MOST_REPETITIONS  # of one module, as in ALBERT
    if layer_files != model.depth and not repeated:  # so that there are no more layers than the manifest has lines
        raise ValueError(f"teacher/ has {layer_files} layers, not {model.depth}")
    if sorted(set(manifest.layers)) != list(manifest.layers) or not all(0 < n < model.depth for n in manifest.layers):
        raise ValueError(f"layers {manifest.layers!s:.60} of a teacher of {model.depth}")
    task, kind = manifest.task, manifest.kind
    if task.labels != fields.labels:
        raise ValueError("its labels are not those of its fields")
    if model.classes != kind.num_logits(task.labels):
        raise ValueError(f"{model.classes} logits for {len(task.labels)} labels")
    if fields.sequences != kind.sequences(model.classes):
        raise ValueError(f"{fields.sequences} sequences for {model.classes} logits")
    if not TASK_NAME.fullmatch(task.name):
        raise ValueError(f"{task.name!r:.60} is not the name of a task")
    if not task.metrics or set(task.settings) != set(kind.settings):
        raise ValueError(f"{len(task.metrics)} metrics, and the settings {', '.join(task.settings)!s:.60}")
    for metric in task.metrics:
        check_metric(kind, task.labels, metric)
    if not model.pad_id < model.vocabulary < 2**31 or model.token_types > 128 or not 0 < model.hidden < 2**31:
        raise ValueError("its model has sizes that cannot be")
    if manifest.dtype not in ("float16", "float32"):
        raise ValueError(f"dtype {manifest.dtype!r:.30}")
    types, shard_rows = manifest.column_types(), fields.shard_rows
    parts = {part for name, column in types.items() for part in column.parts(name)}
    for name, split in manifest.splits.items():
        if not split.shards:
            raise ValueError(f"split {name!r:.30} does not have any shards")
        if digest_of([shard.rows_digest for shard in split.shards]) != fields.splits[name]:
            raise ValueError(f"the rows of split {name} are not those of the identity")
        for index, shard in enumerate(split.shards):
            if not re.fullmatch(r"[a-z]\w*", name, re.ASCII) or shard.file != f"{name}/{index:05d}{suffix}":
                raise ValueError(f"{shard.file!r:.60} is not the name of shard {index} of split {name!r:.30}")
            last = index == len(split.shards) - 1
            if not 0 < shard.rows <= shard_rows or (shard.rows < shard_rows and not last):
                raise ValueError(f"{shard.file} has {shard.rows} rows")
            if set(shard.parts) != parts:
                raise ValueError(f"{shard.file} has other columns than its fields say")
            for part, extent in shard.parts.items():
                if extent.offset + extent.bytes > shard.bytes:
                    raise ValueError(f"{part} of {shard.file} ends after the file")
    for file in manifest.teacher_files:
        if Path(file).name != file or Path(file).suffix not in TEACHER_SUFFIXES:
            raise ValueError(f"teacher file {file!r:.60}")
    scores = [score for metrics in manifest.teacher_metrics.values() for score in _typed(metrics, dict).values()]
    if not all(isinstance(score, int | float) and math.isfinite(score) for score in scores):
        raise ValueError("a metric of the teacher is not a number")
