"""Leases: files that name the process writing a directory (a cache, a run, a sweep) or one shard of a cache.

A lease is held while its process lives: a holder on this host is dead when its process is, one on another host when
its file was not touched for a minute (by the clock of the file system, so that hosts need not agree on the time).
"""

import contextlib
import fcntl
import getpass
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import LeaseLost
from pipeline.system.files import is_temporary, read_json, remove, temporary_beside, write_json

PARTIAL = ".partial"  # in a directory that is being written
LEASE = "lease.json"  # in .partial/
HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0


@cache
def this_host() -> str:
    """Return the name of this machine, with its boot and process namespace: names alone and containers can be alike."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts += [boot.read_text().strip(), os.readlink(namespace)]
    return " ".join(parts)


def _start_of(pid: int) -> float:
    """Return the time at which a process of this host started, in seconds. Raises psutil.Error if there is none.

    The time counts from the boot where the kernel states it, so that setting the clock makes no process look dead.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return float(psutil.Process(pid).create_time())


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease. `started` is its start, so that a reused process number is not taken for it."""

    name: str
    host: str
    pid: int
    started: float
    token: str

    @classmethod
    def me(cls) -> "Holder":
        """Return this process as a new holder."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        name = f"{user}@{socket.gethostname()}"
        return cls(name, this_host(), os.getpid(), _start_of(os.getpid()), secrets.token_hex(8))

    def is_dead_here(self) -> bool:
        """Return whether this is a process of this host that has ended."""
        if self.host != this_host():
            return False
        try:
            return abs(_start_of(self.pid) - self.started) > 0.1
        except psutil.Error:
            return True

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def is_free(directory: Path) -> bool:
    """Return whether the directory holds nothing but traces of a process that was killed early, or has just started."""
    if not directory.is_dir():
        return not directory.exists()
    return all(entry.name == PARTIAL or is_temporary(entry) for entry in directory.iterdir())


def directory_lease(directory: Path) -> "Lease":
    """Return the lease on a directory as a whole."""
    return Lease(directory / PARTIAL / LEASE)


def leave_directory(lease: "Lease") -> None:
    """Release the lease on a directory and remove its .partial, unless another process took it over."""
    is_mine = lease.is_mine()
    lease.release()
    if is_mine:
        remove(lease.path.parent)


class Lease:
    """A lease, in the file `path`. Held from `acquire` to `release`; a thread keeps it alive."""

    def __init__(self, path: Path):
        self.path = path
        self.me: Holder | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def holder(self) -> Holder | None:
        """Return the holder; None if there is none that could be alive."""
        try:
            holder = Holder(**read_json(self.path))
            if holder.is_dead_here() or self._silent_seconds() > DEAD_AFTER_SECONDS:
                return None
            return holder
        except (OSError, ValueError, TypeError, OverflowError, RecursionError):
            return None

    def _silent_seconds(self) -> float:
        """Return the seconds since the holder last touched the file, by the file system's own clock."""
        probe = temporary_beside(self.path)
        probe.touch()
        try:
            return probe.stat().st_mtime - self.path.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def acquire(self) -> Holder | None:
        """Take the lease, or return the living process that holds it. Raises OSError if the disk refuses."""
        for tries_left in reversed(range(5)):
            try:
                if (holder := self._take()) is not None:
                    return holder
                break
            except FileNotFoundError:  # the process that finished has just removed the directory
                if not tries_left:
                    raise
        self._stop.clear()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return None

    def _take(self) -> Holder | None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path.parent):
            if (holder := self.holder()) is not None:
                return holder
            self.me = Holder.me()
            write_json(self.path, asdict(self.me))
        return None

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                if self.is_mine():  # a new holder has a heartbeat of its own
                    os.utime(self.path)

    def is_mine(self) -> bool:
        """Return whether this process took the lease, and no other has taken it over."""
        try:
            token: Any = read_json(self.path)["token"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False
        return self.me is not None and token == self.me.token

    def check(self) -> None:
        """Raise `LeaseLost` if another process took the lease over, as after a sleep of this machine."""
        if not self.is_mine():
            raise LeaseLost(
                f"{self.path.parent.parent} was taken over by another process while this one was silent. "
                "Run the same command again"
            )

    def release(self) -> None:
        """Give the lease back; one that was taken over stays with its new holder."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        with contextlib.suppress(LeaseLost, OSError):
            self.check()
            self.path.unlink()
        self.me = None


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time read a lease and take it; a file system without locks is used without."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
