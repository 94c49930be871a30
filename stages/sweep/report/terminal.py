"""What is seen of a sweep while it runs: on a terminal a board that is drawn anew, elsewhere a line for each trial."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.system.progress import note
from stages.sweep.report import leaderboard
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import SweepRecord
from stages.sweep.search.search import Search
from stages.sweep.search.study import Study

DRAW_SECONDS = 2.0
QUIET_SECONDS = 60.0  # between two lines on running trials, where stderr is no terminal
LEADERS = 8


@contextmanager
def view(directory: SweepDirectory, study: Study, before: float) -> Iterator[Callable[[Search, str | None], None]]:
    """`before`: seconds of the calls before this one. The search calls what is yielded; `sweep status` reads what that
    writes.
    """
    started = time.monotonic()
    live = _Live() if sys.stderr.isatty() else None
    drawn, told = 0.0, time.monotonic()
    running: set[str] = set()

    def changed(search: Search, event: str | None) -> None:
        nonlocal drawn, told, running
        now = time.monotonic()
        if event and live is None:
            note(event)
        if now - drawn < DRAW_SECONDS and running == set(search.live):
            return
        drawn, running = now, set(search.live)
        directory.write_progress(before + now - started, search.live)
        if live is None and now - told < QUIET_SECONDS:
            return
        record = directory.record(study, search.live, before + now - started, finished=False)
        if live is not None:
            live.draw(board_text(record))
        elif now - told >= QUIET_SECONDS:
            told = now
            for line in (*leaderboard.running(record), leaderboard.summary(record)):
                note(line)

    try:
        yield changed
    finally:
        if live is not None:
            live.close()


def board_text(record: SweepRecord) -> str:
    """Leaders, running trials, failures and a summary."""
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
