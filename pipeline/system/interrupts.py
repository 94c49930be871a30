"""Ctrl-C and SIGTERM: as a request to stop after the current step, and as an exception everywhere else."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
RETRY_SECONDS = 0.05
_IMPORT = "<frozen importlib._bootstrap>"


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
def signals_raise(request: StopRequest) -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C and `Terminated` at the first SIGTERM; `request` says which has come.

    Every with-block is left: temporary directories and child processes end with them. An import is never interrupted,
    since libraries turn that into errors of their own or leave modules half made: the signal waits for its end.
    Whatever leaves the block after a signal was raised, a library's error too, is a stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting = 0

    def stop(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            stop_later(number)
            return
        request.number = number
        if number == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise Terminated
        raise KeyboardInterrupt

    def stop_later(number: int) -> None:
        nonlocal waiting
        waiting = number
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)

    def stop_dropped(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):  # it came up in a finalizer, where Python drops it
            stop_later(request.number)
        else:
            hook(dropped)

    earlier = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGALRM)}
    hook, sys.unraisablehook = sys.unraisablehook, stop_dropped
    signal.signal(signal.SIGALRM, lambda _, frame: stop(waiting, frame))
    for number in SIGNALS:
        if earlier[number] is not signal.SIG_IGN:  # as nohup sets it for Ctrl-C
            signal.signal(number, stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
