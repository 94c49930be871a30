"""Waiting for a condition, in place of a fixed delay."""

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], object], seconds: float = 120, process: Any = None) -> bool:
    """Return True once the condition holds, False if `process` ended before it did.

    Raises AssertionError after so many seconds: by then it will never hold.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            return bool(condition())
        assert time.monotonic() < deadline, f"still waiting after {seconds:.0f} s"
        time.sleep(0.002)
    return True
