"""What was fetched from published caches, in the user's store: files known by their digests, bounded in bytes.

`columns/` holds one file a part of a column; `teachers/` one directory a teacher. Beside them `used/` holds an empty
file for each: locked while it is written or (a teacher) in use, touched when it is used, so that what was not used
longest can go first. The time of the file itself stays as it was: what `VerifiedDigests` knows of it holds.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.shards import FileState, map_file
from pipeline.cache.user_store import VerifiedDigests
from pipeline.errors import BadOption, shell_line
from pipeline.system.digests import bytes_digest
from pipeline.system.files import is_temporary, remove, write_file

ABANDONED_SECONDS = 3600.0  # after which a temporary file is a dead process's
Mapped = tuple[np.ndarray, FileState]


class DownloadCache:
    """The fetched files in `store`, at most `limit` bytes of them.

    What this process needs stays; other processes keep what they have mapped, and the teachers they use. Several that
    fetch at once may go over the limit by what the others are fetching; the next call that fetches makes room.
    """

    def __init__(self, store: Path, limit: int, verified: VerifiedDigests):
        self.store, self.limit, self.verified = store, limit, verified
        self.needed: dict[Path, int] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return DownloadCache, (self.store, self.limit, self.verified)

    def column(self, sha256: str) -> Path:
        return self.store / "columns" / sha256[:2] / sha256

    def teacher(self, digest: str) -> Path:
        return self.store / "teachers" / digest

    def need(self, files: Mapping[Path, int], location: str) -> int:
        """Say which files (and their bytes) this process needs, and make room for them.

        Returns how many bytes of them are not there. Raises `BadOption` if all that it needs is more than the limit.
        """
        with self._lock:
            needed = {**self.needed, **files}
            if (total := sum(needed.values())) > self.limit:
                raise BadOption(
                    f"{location}: at least {total:,} bytes of it are needed, and --store-bytes is {self.limit:,}. "
                    f"Raise --store-bytes, or train from a whole copy: {shell_line('cache', 'pull', location, 'DIR')}"
                )
            self.needed = needed
            missing = sum(size for path, size in files.items() if _size(path) != size)
            if missing:
                self._make_room(missing)
            return missing

    def keep(self, path: Path, sha256: str, size: int, location: str, fetch: Callable[[Path], None]) -> Mapped:
        """The bytes of a file with this digest; if it is not there, or not intact, `fetch` writes it.

        Asked for by several threads or processes at once, it is fetched once. `fetch` compares its bytes.
        """
        if path not in self.needed:
            self.need({path: size}, location)
        if (mapped := self._map(path, sha256, size)) is None:
            with self._marked(path, fcntl.LOCK_EX):
                if (mapped := self._map(path, sha256, size)) is None:
                    write_file(path, fetch)
                    mapped = map_file(path)
        return mapped

    def _map(self, path: Path, sha256: str, size: int) -> Mapped | None:
        """The file if it is there and intact: known to be so, or compared now."""
        try:
            data, state = map_file(path)
        except (OSError, ValueError):
            return None
        if len(data) != size:
            return None
        if sha256 not in self.verified.lookup(path, state):
            if bytes_digest(data) != sha256:
                return None
            self.verified.record(path, state, [sha256])
        self._touch(path)
        return data, state

    @contextlib.contextmanager
    def using(self, teacher: Path) -> Iterator[None]:
        """Nobody removes this teacher meanwhile."""
        with self._marked(teacher, fcntl.LOCK_SH):
            self._touch(teacher)
            yield

    def _mark(self, path: Path) -> Path:
        return self.store / "used" / path.relative_to(self.store).with_name(f"{path.name}.mark")

    def _touch(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            self._mark(path).parent.mkdir(parents=True, exist_ok=True)
            self._mark(path).touch()

    @contextlib.contextmanager
    def _marked(self, path: Path, how: int) -> Iterator[None]:
        """With the mark of `path` locked. Raises BlockingIOError if asked not to wait; works on without locks."""
        mark = self._mark(path)
        mark.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                raise
            except OSError:  # a file system without locks: two may fetch the same bytes
                pass
            yield
        finally:
            os.close(descriptor)

    def _make_room(self, incoming: int) -> None:
        """Remove what was not used longest until `incoming` more bytes fit."""
        units = {path: _size(path) for path in self.store.glob("columns/*/*")}
        units |= {path: sum(map(_size, path.glob("*"))) for path in self.store.glob("teachers/*")}
        excess = sum(units.values()) + incoming - self.limit
        kept = {*self.needed, *(path.parent for path in self.needed)}
        for path in sorted(units.keys() - kept, key=self._last_used):
            if excess <= 0:
                return
            if is_temporary(path) and time.time() - self._last_used(path) < ABANDONED_SECONDS:
                continue
            with contextlib.suppress(OSError), self._marked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
                remove(path)
                excess -= units[path]
                if path.parent.name != "teachers":  # a teacher's mark may be held by who is about to fetch it
                    self._mark(path).unlink(missing_ok=True)

    def _last_used(self, path: Path) -> float:
        for place in (self._mark(path), path):
            with contextlib.suppress(OSError):
                return place.stat().st_mtime
        return 0.0


def _size(path: Path) -> int:
    """0 for what is not there."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0
