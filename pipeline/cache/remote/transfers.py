"""Transfers of files, a few at a time: the first failure stops the others."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

TRANSFERS = 4
Item = TypeVar("Item")


class Stopped(Exception):
    """The end of a transfer because another one has failed."""


class Transfers:
    """A group of transfers. `moved` counts bytes; the first failure stops the others within a block."""

    def __init__(self, progress: Any = None):
        self.moved = 0
        self._progress = progress
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def advance(self, count: int) -> None:
        """Count transferred bytes. Raises `Stopped` if another transfer has failed."""
        if self._stopped.is_set():
            raise Stopped
        with self._lock:
            self.moved += count
            if self._progress is not None:
                self._progress.update(count)

    def run(self, transfer: Callable[[Item], object], items: Iterable[Item]) -> None:
        """Call `transfer` for each item. Raises the error of the first that fails."""
        pool = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")
        try:
            for future in as_completed([pool.submit(transfer, item) for item in items]):
                future.result()
        finally:
            self.stop()
            pool.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        """End all transfers at their next block."""
        self._stopped.set()
