"""Downloads from published caches, kept in the user's store: files named by their digests, bounded in bytes.

`columns/` holds one file per part of a column, `teachers/` one directory per teacher, `tokens/` one for each split that
was tokenised for a student. `used/` holds an empty mark for each: locked while the file is written or (a teacher) in
use, touched on use, so that the least recently used is removed first. The times of the file itself do not change:
`VerifiedDigests` relies on them.
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

from pipeline.cache.user_store import VerifiedDigests
from pipeline.errors import BadOption, shell_line
from pipeline.system.digests import bytes_digest
from pipeline.system.files import is_temporary, remove, write_directory, write_file
from pipeline.system.mapped_files import FileState, map_file
from pipeline.system.system_errors import raise_if_of_system

ABANDONED_SECONDS = 3600.0  # after which a temporary file is a dead process's
Mapped = tuple[np.ndarray, FileState]


class DownloadCache:
    """The downloaded files in `store`, at most `limit` bytes of them.

    Files that this process needs stay; other processes keep the files that they have mapped, and the teachers that they
    use. Processes that download at the same time may exceed the limit by each other's files; the next download makes
    room.
    """

    def __init__(self, store: Path, limit: int, verified: VerifiedDigests):
        self.store, self.limit, self.verified = store, limit, verified
        self.needed: dict[Path, int] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return DownloadCache, (self.store, self.limit, self.verified)

    def column(self, sha256: str) -> Path:
        """Return the path of a part of a column."""
        return self.store / "columns" / sha256[:2] / sha256

    def teacher(self, digest: str) -> Path:
        """Return the directory of a teacher's files."""
        return self.store / "teachers" / digest

    def need(self, files: Mapping[Path, int], location: str) -> int:
        """Add files (and their bytes) to those that this process needs, make room, and return the bytes to download.

        Raises `BadOption` if the process needs more bytes than the limit.
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

    def get(self, path: Path, sha256: str, size: int, location: str, download: Callable[[Path], None]) -> Mapped:
        """Return the bytes of a file with this digest; if it is absent or damaged, `download` writes it.

        Threads and processes that request it at the same time download it once. `download` checks its bytes.
        """
        if path not in self.needed:
            self.need({path: size}, location)
        if (mapped := self._map(path, sha256, size)) is None:
            with self._marked(path, fcntl.LOCK_EX):
                if (mapped := self._map(path, sha256, size)) is None:
                    write_file(path, download)
                    mapped = map_file(path)
        return mapped

    def directory(self, path: Path, intact: Callable[[Path], bool], write: Callable[[Path], None]) -> None:
        """Return when `intact` says yes to a directory; else `write` makes it, in one process at a time.

        Raises `BadOption` for one of more bytes than the limit, and OSError.
        """

        def write_within_limit(target: Path) -> None:
            write(target)
            if (total := _bytes(target)) > self.limit:
                raise BadOption(
                    f"the tokens of this student take {total:,} bytes, and --store-bytes is {self.limit:,}. Raise "
                    "--store-bytes"
                )
            self._make_room(0)  # the new directory is counted already

        with self._marked(path, fcntl.LOCK_EX):
            if not intact(path):
                write_directory(path, write_within_limit)
        self._touch(path)

    def _map(self, path: Path, sha256: str, size: int) -> Mapped | None:
        """Return the file, mapped; None if it is absent or damaged. Unless verified before, it is compared now."""
        try:
            data, state = map_file(path)
        except (OSError, ValueError) as error:
            raise_if_of_system(error)
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
        """Keep every process from removing this teacher while open."""
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
        """Lock the mark of `path` while open. Raises BlockingIOError if `how` is not to wait. Works without locks."""
        mark = self._mark(path)
        mark.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                raise
            except OSError:  # a file system without locks: two processes may download the same bytes
                pass
            yield
        finally:
            os.close(descriptor)

    def _make_room(self, incoming: int) -> None:
        """Remove the least recently used files until `incoming` more bytes fit."""
        units = {path: _size(path) for path in self.store.glob("columns/*/*")}
        units |= {path: _bytes(path) for kind in ("teachers", "tokens") for path in self.store.glob(f"{kind}/*")}
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
                if path.parent.name != "teachers":  # a process about to download a teacher may hold its mark
                    self._mark(path).unlink(missing_ok=True)

    def _last_used(self, path: Path) -> float:
        for file in (self._mark(path), path):
            with contextlib.suppress(OSError):
                return file.stat().st_mtime
        return 0.0


def _bytes(directory: Path) -> int:
    """Return the bytes of the files in a directory."""
    return sum(map(_size, directory.glob("*")))


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 if it is absent."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0
