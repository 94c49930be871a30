"""Progress bars with rate and ETA, and notes, all on stderr: stdout is for results."""

import sys
from typing import Any

from tqdm import tqdm


def bar(total: int, description: str, unit: str, done: int = 0, show: bool = True) -> Any:
    """Return a bar over `total` units, `done` of them finished; it refreshes rarely where stderr is not a terminal."""
    return tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        unit_scale=unit == "B",
        file=sys.stderr,
        disable=not show,
        dynamic_ncols=True,
        mininterval=0.2 if sys.stderr.isatty() else 15,
        smoothing=0.1,
    )


def note(text: str) -> None:
    """Print one line to stderr."""
    print(text, file=sys.stderr, flush=True)
