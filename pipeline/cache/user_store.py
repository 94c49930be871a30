"""The user's own store: what was checked, and what was fetched. Never part of a cache, so it can be deleted.

It lies in the user's cache directory, or where PKD_STORE says.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.cache.shards import FileState
from pipeline.config.rows import ROW_PATHS, RowsConfig
from pipeline.errors import DistillError
from pipeline.system.files import read_json, temporary_beside, write_json

STORE_BYTES = 50_000_000_000
SETTLED_NS = 1_000_000_000  # a file changed less than a second ago could change again within its time's resolution


def default_store() -> Path:
    import platformdirs

    return Path(os.environ.get("PKD_STORE") or platformdirs.user_cache_path("pkd-distill"))


def remember_rows(identity: str, rows: RowsConfig) -> None:
    """Keep where the rows of a cache lie on this machine: their absolute places, which its manifest does not tell."""
    places = {field.name: getattr(rows, field.name) for field in dataclasses.fields(RowsConfig)}
    for name in ROW_PATHS:
        if places[name]:
            places[name] = str(Path(places[name]).absolute())
    with contextlib.suppress(OSError):
        write_json(default_store() / "rows" / f"{identity}.json", places)


def known_rows(identity: str) -> RowsConfig | None:
    """Where the rows of this cache were when this user made it."""
    try:
        return RowsConfig(**read_json(default_store() / "rows" / f"{identity}.json"))
    except (OSError, ValueError, TypeError, DistillError):
        return None


class VerifiedDigests:
    """Which digests the bytes of a file were found to have, valid while the file stays as it was then.

    Losing it costs time only: what is not known is checked again, and a store that cannot be written is no error.
    """

    def __init__(self, store: Path):
        self.directory = store / "verified"

    def _file(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
        return self.directory / name[:2] / f"{name[:40]}.json"

    def lookup(self, path: Path, state: FileState) -> set[str]:
        """The digests of parts of `path` that were verified when it was in this state."""
        try:
            record = read_json(self._file(path))
            return set(record["digests"]) if tuple(record["state"]) == state else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def record(self, path: Path, state: FileState, digests: Iterable[str]) -> None:
        if time.time_ns() - max(state[-2:]) < SETTLED_NS:
            return
        known = self.lookup(path, state)
        record = self._file(path)
        temporary = temporary_beside(record)
        with contextlib.suppress(OSError):  # renamed but not synced: a record that a crash loses is made again
            record.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"state": state, "digests": sorted(known.union(digests))}))
            temporary.rename(record)
