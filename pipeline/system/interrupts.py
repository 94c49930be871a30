"""Ctrl-C and SIGTERM as a request to stop after the current step; a second one stops immediately."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """The `number` of the signal that asked to stop; 0 while none has."""

    number: int = 0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Collect the signals while open (in the main thread; other threads receive none)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def request_stop(number: int, _frame: FrameType | None) -> None:
        request.number = number
        restore()

    for number in SIGNALS:
        signal.signal(number, request_stop)
    try:
        yield request
    finally:
        restore()


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would raise KeyboardInterrupt."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise `Terminated` in the main thread at the first SIGTERM, and ignore any later one.

    Every with-block is left, as after Ctrl-C: temporary directories and child processes end with them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    earlier = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
