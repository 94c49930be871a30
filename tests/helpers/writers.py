"""cache-teacher as real processes: started, watched, killed; and what they leave compared with what they should."""

import contextlib
import fcntl
import json
import signal
import threading
import time
from pathlib import Path

import psutil

from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig
from pipeline.errors import BadCache
from pipeline.system.digests import intact
from pipeline.system.files import read_json
from tests.helpers.processes import Command, start_cli
from tests.helpers.waiting import wait_until

ROWS = 4  # examples a shard, so that there are many shards


def options(tiny, out: Path, **changes: object) -> dict:
    defaults = {"teacher": str(tiny.teacher), "precision": "float32", "shard_rows": ROWS, "cache": str(out)}
    return tiny.rows | defaults | changes


def config(tiny, out: Path, **changes: object) -> CacheTeacherConfig:
    return CacheTeacherConfig(**options(tiny, out, **changes))


def words(tiny, out: Path, *flags: str, **changes: object) -> list[str]:
    given = options(tiny, out, **changes)
    return ["cache-teacher", *(f"--{name.replace('_', '-')}={value}" for name, value in given.items()), *flags]


def start(tiny, out: Path, *flags: str, **changes: object) -> Command:
    return start_cli(*words(tiny, out, *flags, **changes))


def kill(process: Command) -> bool:
    """SIGKILL; whether it was still running. No process that it started lives on."""
    children = descendants(process)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, f"orphans: {[child.cmdline() for child in alive]}"
    return process.returncode == -9


def pause(process: Command, out: Path) -> None:
    """Stop a writer while it does not hold the lock under which leases are taken."""
    while True:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        if _is_free(out / ".partial" / "lock"):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.002)


def _is_free(lock: Path) -> bool:
    with lock.open() as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def descendants(process: Command) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_of(process: Command) -> list[psutil.Process]:
    """The processes that compute for it, without the one that multiprocessing keeps for itself."""
    found = []
    for child in descendants(process):
        with contextlib.suppress(psutil.Error):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child)
    return found


def recorded(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every shard that is said to be finished, by its path in the cache."""
    found = {}
    for path in (out / ".partial").glob("*-*.json"):
        with contextlib.suppress(OSError, ValueError):
            file = read_json(path)["file"]
            state = (out / file).stat()
            found[file] = (state.st_ino, state.st_mtime_ns)
    return found


def unchanged(out: Path, shards: dict[str, tuple[int, int]]) -> bool:
    states = {file: (out / file).stat() for file in shards}
    return shards == {file: (state.st_ino, state.st_mtime_ns) for file, state in states.items()}


def contents(directory: Path) -> dict[str, object]:
    """The bytes of every file; of the manifest all that does not tell when and how it was made."""
    found: dict[str, object] = {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }
    manifest = json.loads((directory / "manifest.json").read_text())
    found["manifest.json"] = {name: value for name, value in manifest.items() if name not in ("made", "digest")}
    return found


class Reader:
    """A thread that opens a cache again and again: what opens has to be whole."""

    def __init__(self, out: Path):
        self.out, self.refused, self.opened, self.problem = out, 0, 0, ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._stop.wait(0.02):
            try:
                manifest = open_cache(self.out).manifest
            except BadCache:
                self.refused += 1
                continue
            except Exception as error:
                self.problem = repr(error)
                return
            self.opened += 1
            for file, record in manifest.files().items():
                if not intact(self.out / file, record.sha256):
                    self.problem = f"{file} was not whole in a cache that opened"
