"""The user's own store: verified digests, downloads and paths of rows. No cache needs it, so it can be deleted.

It is in the user's cache directory, or where PKD_STORE points.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.config.rows import ROW_PATHS, CacheRowsConfig
from pipeline.data.tables.places import absolute
from pipeline.errors import BadOption, DistillError
from pipeline.system.files import obstacle_to_directory, read_json, temporary_beside, write_text
from pipeline.system.mapped_files import FileState

STORE_BYTES = 50_000_000_000
SETTLED_NS = 1_000_000_000  # a file changed less than a second ago could change again within its time's resolution


def default_store() -> Path:
    """Return the directory of the user's store."""
    import platformdirs

    return Path(os.environ.get("PKD_STORE") or platformdirs.user_cache_path("pkd-distill"))


def check_store(store: Path) -> None:
    """Raise `BadOption` for a store that is a file or a dangling link, or that is to lie inside a file."""
    if obstacle := obstacle_to_directory(store):
        raise BadOption(f"the store {store}: {obstacle}. Name a directory with --store or PKD_STORE")


def record_rows(identity: str, rows: CacheRowsConfig) -> None:
    """Record the absolute paths of a cache's rows on this machine, which its manifest leaves out."""
    paths = {field.name: getattr(rows, field.name) for field in dataclasses.fields(CacheRowsConfig)}
    for name in ROW_PATHS:
        value = paths[name]
        if isinstance(value, tuple):
            paths[name] = tuple(map(absolute, value))
        elif value and (name != "dataset" or Path(value).exists()):  # else it is a name on the hub
            paths[name] = absolute(value)
    with contextlib.suppress(OSError):  # JSON in ASCII: the bytes of a path need not be UTF-8
        write_text(default_store() / "rows" / f"{identity}.json", json.dumps(paths))


def recorded_rows(identity: str) -> CacheRowsConfig | None:
    """Return the paths of a cache's rows when this user made it; None if they were not recorded."""
    try:
        return CacheRowsConfig(**read_json(default_store() / "rows" / f"{identity}.json"))
    except (OSError, ValueError, TypeError, DistillError):
        return None


class VerifiedDigests:
    """The verified digests of files, each valid while the file stays as it was then.

    Losing them costs time only: other bytes are checked again, and a store that cannot be written is ignored.
    """

    def __init__(self, store: Path):
        self.directory = store / "verified"

    def _file(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
        return self.directory / name[:2] / f"{name[:40]}.json"

    def lookup(self, path: Path, state: FileState) -> set[str]:
        """Return the digests of parts of `path` that were verified when it was in this state."""
        try:
            record = read_json(self._file(path))
            return set(record["digests"]) if tuple(record["state"]) == state else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def record(self, path: Path, state: FileState, digests: Iterable[str]) -> None:
        """Add verified digests of `path` in this state, unless it has just changed and could change again unnoticed."""
        if time.time_ns() - max(state[-2:]) < SETTLED_NS:
            return
        previous = self.lookup(path, state)
        record = self._file(path)
        temporary = temporary_beside(record)
        with contextlib.suppress(OSError):  # renamed but not synced: a record lost in a crash is written again
            record.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"state": state, "digests": sorted(previous.union(digests))}))
            temporary.rename(record)
