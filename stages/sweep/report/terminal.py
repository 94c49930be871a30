"""The display of a running sweep: on a terminal a leaderboard that refreshes, otherwise a line for each trial."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.system.progress import is_quiet, note
from stages.sweep.report import leaderboard
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import SweepRecord
from stages.sweep.search.search import Search
from stages.sweep.search.study import Study

DRAW_SECONDS = 2.0
NOTE_SECONDS = 60.0  # between two lines on running trials, if stderr is not a terminal
LEADERS = 8


@contextmanager
def progress_display(
    directory: SweepDirectory, study: Study, before: float
) -> Iterator[Callable[[Search, str | None], None]]:
    """Yield the function that the search calls with its events. It also writes what `sweep status` reads.

    `before`: seconds of the calls before this one.
    """
    started = time.monotonic()
    live = _Live() if sys.stderr.isatty() and not is_quiet() else None
    drawn, noted = 0.0, time.monotonic()
    running: set[str] = set()

    def on_change(search: Search, event: str | None) -> None:
        nonlocal drawn, noted, running
        now = time.monotonic()
        if event and live is None:
            note(event)
        if now - drawn < DRAW_SECONDS and running == set(search.live):
            return
        drawn, running = now, set(search.live)
        directory.write_progress(before + now - started, search.live)
        if live is None and now - noted < NOTE_SECONDS:
            return
        record = directory.record(study, search.live, before + now - started, finished=False)
        if live is not None:
            live.draw(status_text(record))
        elif now - noted >= NOTE_SECONDS:
            noted = now
            for line in (*leaderboard.running(record), leaderboard.summary(record)):
                note(line)

    try:
        yield on_change
    finally:
        if live is not None:
            live.close()


def status_text(record: SweepRecord) -> str:
    """Return the leaders, the running trials, the last failures and a summary."""
    parts = [
        leaderboard.leaders(record, LEADERS),
        *leaderboard.running(record),
        *leaderboard.failures(record)[-3:],
        leaderboard.summary(record),
    ]
    return "\n".join(part for part in parts if part)


class _Live:
    """A text on the terminal that replaces itself."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._text = Text
        self._live = Live(console=Console(stderr=True), refresh_per_second=2, transient=False)
        self._live.start()

    def draw(self, text: str) -> None:
        self._live.update(self._text(text))

    def close(self) -> None:
        self._live.stop()
