"""The command `cache ls`: list a directory or URL and everything directly in it that is a cache."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.cache.format.manifest import MANIFEST, Manifest
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.config.cache import CacheLsConfig
from pipeline.errors import BadCache, DamagedCache, shell_line
from pipeline.system.digests import json_digest
from pipeline.system.files import read_json
from pipeline.system.formatting import duration, printable, size, spans, table
from pipeline.system.lease import PARTIAL, directory_lease
from pipeline.system.progress import show

COMPLETE, UNFINISHED, DAMAGED, UNREADABLE = "complete", "unfinished", "damaged", "unreadable"
HEADER = ("cache", "identity", "task", "teacher", "splits", "layers", "container", "bytes", "age")
DAY = 86400


@dataclass(frozen=True)
class Listed:
    """One cache; facts that an unfinished or unusable cache does not provide are None or empty."""

    place: str
    state: str
    note: str = ""  # its writer, or why it cannot be used
    identity: str | None = None
    content: str | None = None
    task: str | None = None
    teacher: str | None = None
    examples: dict[str, int] | None = None
    layers: tuple[int, ...] = ()
    dtype: str | None = None
    container: str | None = None
    bytes: int | None = None
    made: str | None = None  # time in UTC


@dataclass(frozen=True)
class LsResult:
    """The caches at a location."""

    command: str
    location: str
    caches: list[Listed]


def run(config: CacheLsConfig) -> LsResult:
    """List the caches and print them; there may be none.

    Raises `BadCache` for a file, a missing directory other than the default, or a URL that cannot be listed.
    """
    caches = list(_published(config.location) if "://" in config.location else _local(Path(config.location)))
    if caches:
        show(table(HEADER, [_row(cache) for cache in caches]))
        for cache in caches:
            if cache.note:
                show(f"{printable(cache.place)}: {printable(cache.note)}")
    else:
        show(f"{printable(config.location)}: no caches here. Make one: {shell_line('cache-teacher', '--task', 'TASK')}")
    return LsResult("cache ls", config.location, caches)


def _local(directory: Path) -> Iterator[Listed]:
    """Yield the caches at a directory and directly in it."""
    if directory.is_file():
        raise BadCache(f"{directory} is a file, no cache. Name a directory or a URL")
    if not directory.is_dir():
        if directory == Path(CacheLsConfig().location):  # where cache-teacher will write
            return
        raise BadCache(f"{directory} is not there. Name a directory or a URL")
    inside = sorted(entry for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for place in [directory, *inside]:
        try:
            if (place / MANIFEST).is_file():
                yield _complete(str(place), read_manifest(place))
            elif (place / PARTIAL).is_dir() and not (place / PARTIAL).is_symlink():
                yield _unfinished(place)
        except (BadCache, OSError) as error:
            yield _refused(str(place), error)


def _published(url: str) -> Iterator[Listed]:
    """Yield the caches at a URL and one level below it. Raises `BadPlace` if it cannot be listed."""
    from pipeline.cache.remote.published import BLOBS, Published

    place = Published(url)
    for name in ["", *(name for name in place.remote.directories() if name not in (BLOBS, MANIFEST))]:
        at = f"{place.url}/{name}".rstrip("/")
        try:
            if (published := Published(at).find()) is not None:
                yield _complete(at, published[0])
        except BadCache as error:
            yield _refused(at, error)


def _refused(place: str, error: BadCache | OSError) -> Listed:
    """Return a cache that cannot be used: damaged, or refused for a reason that is not its bytes."""
    return Listed(place, DAMAGED if isinstance(error, DamagedCache) else UNREADABLE, str(error))


def _complete(place: str, manifest: Manifest) -> Listed:
    teacher, environment = manifest.made.get("teacher"), manifest.made.get("environment")
    teacher = manifest.fields.teacher_name or teacher
    time = environment.get("time") if isinstance(environment, dict) else None
    return Listed(
        place,
        COMPLETE,
        "",
        manifest.identity,
        manifest.content,
        manifest.task.name,
        teacher if isinstance(teacher, str) else manifest.model.type,
        {name: split.examples for name, split in manifest.splits.items()},
        manifest.layers,
        manifest.dtype,
        manifest.container,
        manifest.bytes + sum(record.bytes for record in manifest.teacher_files.values()),
        time if isinstance(time, str) else None,
    )


def _unfinished(place: Path) -> Listed:
    """Return the facts of an unfinished cache: its identity so far, and the process that writes it."""
    partial = place / PARTIAL
    holder = directory_lease(place).holder()
    shards = sum(re.fullmatch(r"[a-z]\w*-\d{5}\.json", entry.name) is not None for entry in partial.iterdir())
    writing = (
        f"being written by {holder}"
        if holder
        else "no process is writing it: run the command that started it to continue"
    )
    listed = Listed(str(place), UNFINISHED, f"unfinished, {shards} shards so far; {writing}")
    try:
        value: Any = read_json(partial / "identity.json")
        fields = dict(value["fields"])
        layers = tuple(int(layer) for layer in fields["layers"])
        return replace(
            listed,
            identity=json_digest(fields),
            layers=layers,
            dtype=str(fields["dtype"]),
            container=str(value["container"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return listed


def _row(cache: Listed) -> tuple[object, ...]:
    if cache.state in (DAMAGED, UNREADABLE):
        return (cache.place, cache.state, *"–––––––")
    examples = ", ".join(f"{name} {count:,}" for name, count in (cache.examples or {}).items())
    return (
        cache.place,
        cache.identity[:12] if cache.identity else "–",
        cache.task or UNFINISHED,
        cache.teacher or "–",
        examples or "–",
        spans(cache.layers),
        cache.container or "–",
        size(cache.bytes) if cache.bytes is not None else "–",
        _age(cache.made),
    )


def _age(made: str | None) -> str:
    try:
        seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(made or "")).total_seconds())
    except (ValueError, TypeError):
        return "–"
    return f"{seconds / DAY:.0f} days" if seconds >= 2 * DAY else duration(seconds)
