"""Progress bars with rate and ETA, and notes, on stderr; tables for people, on stdout. One switch turns all of it off.

A command that runs with PKD_QUIET=1 in its environment shows none of it; in Python, see `quiet`.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

QUIET = "PKD_QUIET"
_lock = threading.Lock()
_open_blocks = 0
_before: str | None = None  # the value of the variable outside of all blocks


@contextmanager
def quiet() -> Iterator[None]:
    """Show no bars, notes and tables while open: in every thread of this process, and in those that it starts.

    Errors are raised as always. Blocks may be nested, and open in several threads.
    """
    global _open_blocks, _before
    with _lock:
        if not _open_blocks:
            _before = os.environ.get(QUIET)
            os.environ[QUIET] = "1"
        _open_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            if not _open_blocks and _before is None:
                os.environ.pop(QUIET, None)
            elif not _open_blocks and _before is not None:
                os.environ[QUIET] = _before


def is_quiet() -> bool:
    """Return whether nothing is to be shown."""
    return os.environ.get(QUIET, "") not in ("", "0")


def refreshes_in_place() -> bool:
    """Return whether stderr is a terminal or a notebook, where a line can replace itself."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


def bar(total: int, description: str, unit: str, done: int = 0, show: bool = True) -> Any:
    """Return a bar over `total` units, `done` of them finished; it refreshes rarely where stderr is a file."""
    return tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        unit_scale=unit == "B",
        file=sys.stderr,
        disable=not show or is_quiet(),
        dynamic_ncols=True,
        mininterval=0.2 if refreshes_in_place() else 15,
        smoothing=0.1,
    )


def note(text: str) -> None:
    """Print one line to stderr."""
    if not is_quiet():
        print(text, file=sys.stderr, flush=True)


def show(text: str = "") -> None:
    """Print a text for people to stdout: a table, say."""
    if not is_quiet():
        print(text, flush=True)
