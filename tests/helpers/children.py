"""Which tests start child processes: those with the marker `process`, and no others.

`pytest -m "not process"` is the fast part of the suite. A test that starts a child without the marker fails.
"""

import multiprocessing.process
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FIXTURES = {"server", "cluster", "disk"}  # which run programs: a test that uses one needs no marker of its own
_EVENTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}
_LOOKS = {("git",), ("uname",)}  # questions about this machine, which every run asks
_recorders: list[list[str]] = []


def _record(what: str) -> None:
    for recorder in _recorders:
        recorder.append(what)


def _audit(event: str, arguments: tuple) -> None:
    if _recorders and event in _EVENTS and arguments[:1] not in _LOOKS:
        _record(f"{event}{arguments[:2]}")


def watch_children() -> None:
    """Notice every child process that this process starts from now on."""
    sys.addaudithook(_audit)
    start = multiprocessing.process.BaseProcess.start

    def noticed(process: multiprocessing.process.BaseProcess) -> None:
        _record(f"multiprocessing: {process.name}")
        start(process)

    multiprocessing.process.BaseProcess.start = noticed  # type: ignore[method-assign]


@contextmanager
def children_started() -> Iterator[list[str]]:
    """Yield a list that grows by what is started while it is open."""
    recorder: list[str] = []
    _recorders.append(recorder)
    try:
        yield recorder
    finally:
        _recorders.remove(recorder)
