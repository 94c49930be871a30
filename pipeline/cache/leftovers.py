"""Leftovers of dead writers in a cache, and files in it that its manifest does not name.

Only files that this program can have written count: by their names, in the directories that it writes. Everything else
is the user's. Links are never followed.
"""

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.manifest import MANIFEST, TEACHER
from pipeline.cache.format.manifest_validation import read_manifest, shard_record
from pipeline.cache.writer import CacheWriter
from pipeline.errors import BadCache
from pipeline.system.files import is_temporary, read_json
from pipeline.system.lease import DEAD_AFTER_SECONDS, LEASE, PARTIAL, Lease
from pipeline.system.system_errors import raise_if_of_system

_SUFFIXES = "|".join(re.escape(container.suffix) for container in CONTAINERS.values())
_SHARD = re.compile(rf"\.?(\d{{5,}})(?:{_SUFFIXES})(?:\.[0-9a-f]{{8}}\.tmp)?")
_RECORD = re.compile(r"\.?([a-z]\w*)-(\d{5,})\.(?:json|lease)(?:\.[0-9a-f]{8}\.tmp)?", re.ASCII)
_LEASE_TEMPORARY = re.compile(r"\..*lease(?:\.json)?\.[0-9a-f]{8}\.tmp")
LOCK = "lock"
_IN_PARTIAL = ("identity.json", "teacher.json", LOCK, "rows")  # while the cache is unfinished


@dataclass(frozen=True)
class Leftover:
    """A path to remove. Where it belongs to one shard, `claim` has to be held during the removal."""

    path: Path
    claim: Lease | None = None


@dataclass(frozen=True)
class Leftovers:
    """The leftovers of a directory, and the files in it that this program does not know."""

    leftovers: tuple[Leftover, ...]
    unknown: tuple[Path, ...]  # never removed


def find_leftovers(directory: Path) -> Leftovers:
    """Return the entries of `directory` that no living process writes and no manifest names.

    Raises `BadCache` for a directory that is not a cache, finished or not, or whose manifest is damaged.
    """
    finished = (directory / MANIFEST).is_file()
    if not finished and directory.is_dir() and not _is_directory(directory / PARTIAL):
        raise BadCache(
            f"{directory} is not a cache (it has neither manifest.json nor {PARTIAL}/): nothing in it was touched. "
            "Name the directory of a cache"
        )
    if not directory.is_dir():
        read_manifest(directory)  # says what is wrong with the name
    entries = list(_in_finished(directory) if finished else _in_unfinished(directory))
    leftovers = sorted((item for item in entries if isinstance(item, Leftover)), key=lambda item: item.path)
    return Leftovers(tuple(leftovers), tuple(sorted(item for item in entries if isinstance(item, Path))))


def size_of(path: Path) -> int:
    """Return the bytes of a file, of a link itself, or of all files in a directory."""
    if not _is_directory(path):
        return path.lstat().st_size
    return sum(size_of(entry) for entry in path.iterdir())


def remove_leftover(leftover: Leftover) -> bool:
    """Remove a leftover, a link as a link. Return False if a living process has taken its shard. Raises OSError."""
    claim, path = leftover.claim, leftover.path
    if claim and claim.acquire() is not None:
        return False
    try:
        if claim and _is_recorded(path, claim):
            return False
        if _is_directory(path):
            shutil.rmtree(path)
        elif not (claim and path == claim.path):
            path.unlink()
    finally:
        if claim:
            claim.release()  # which removes the file of the claim
    return True


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_recorded(path: Path, claim: Lease) -> bool:
    """Return whether the record of a shard is that of this file."""
    try:
        return shard_record(read_json(claim.path.with_suffix(".json"))).file == f"{path.parent.name}/{path.name}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise_if_of_system(error)
        return False


def _in_finished(directory: Path) -> Iterator[Leftover | Path]:
    manifest = read_manifest(directory)
    files, folders = manifest.files(), {TEACHER, *manifest.splits}
    for entry in directory.iterdir():
        if entry.name in folders and _is_directory(entry):
            yield from (Leftover(path) for path in entry.iterdir() if f"{entry.name}/{path.name}" not in files)
        elif is_temporary(entry) or (entry.name == PARTIAL and not _is_claimed(entry)):
            yield Leftover(entry)
        elif entry.name not in (MANIFEST, PARTIAL):
            yield entry


def _is_claimed(partial: Path) -> bool:
    """Return whether a living process that joined the writer is still computing a shard."""
    return _is_directory(partial) and any(Lease(path).holder() for path in partial.glob("*.lease"))


def _in_unfinished(directory: Path) -> Iterator[Leftover | Path]:
    writer, splits = _writer(directory)
    for entry in directory.iterdir():
        if entry.name == PARTIAL:
            yield from _in_partial(writer)
        elif is_temporary(entry):
            yield Leftover(entry)
        elif entry.name in splits and _is_directory(entry):
            yield from _in_split(writer, entry)
        elif entry.name != TEACHER or not _is_directory(entry):
            yield entry


def _writer(directory: Path) -> tuple[CacheWriter, set[str]]:
    """Return the writer of an unfinished cache and its splits' names, none where it died before it recorded them."""
    path = directory / PARTIAL / "identity.json"
    try:
        value = read_json(path)
        splits = set(value["fields"]["splits"]) - {TEACHER}
        return CacheWriter(directory, None, value["container"]), splits
    except FileNotFoundError:
        return CacheWriter(directory, None, "arrow"), set()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise_if_of_system(error)
        raise BadCache(f"{path} is damaged, and nothing was touched. Remove {directory} and make it again") from error


def _in_split(writer: CacheWriter, split: Path) -> Iterator[Leftover | Path]:
    for path in split.iterdir():
        match = _SHARD.fullmatch(path.name)
        if not match:
            yield Leftover(path) if is_temporary(path) else path
            continue
        claim = writer.claim(split.name, int(match[1]))
        if not _is_recorded(path, claim) and claim.holder() is None:
            yield Leftover(path, claim)


def _in_partial(writer: CacheWriter) -> Iterator[Leftover | Path]:
    partial = writer.directory / PARTIAL
    for path in partial.iterdir():
        record = _RECORD.fullmatch(path.name)
        if _LEASE_TEMPORARY.fullmatch(path.name):
            if time.time() - path.lstat().st_mtime > DEAD_AFTER_SECONDS:  # a living process takes a lease with it
                yield Leftover(path)
        elif record and (is_temporary(path) or path.suffix == ".lease"):
            claim = writer.claim(record[1], int(record[2]))
            if claim.holder() is None:
                yield Leftover(path, claim)
        elif path.name == LEASE:
            if Lease(path).holder() is None:
                yield Leftover(path)
        elif is_temporary(path):
            yield Leftover(path)
        elif not record and path.name not in _IN_PARTIAL:
            yield path
