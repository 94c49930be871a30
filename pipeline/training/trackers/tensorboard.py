"""TensorBoard: event files in the directory of the run."""

import os
import time
from pathlib import Path
from typing import ClassVar

from pipeline.training.trackers.tracked_run import EVENTS, FINISHED, Scalars, TrackedRun


class TensorBoard:
    """Event files in the run's directory, so that `tensorboard --logdir runs` shows each run by its path."""

    package: ClassVar[str] = "tensorboard"
    extra: ClassVar[str | None] = "track"
    advice: ClassVar[str] = "Check that the run's directory can be written"

    @staticmethod
    def prepare(project: str) -> None:
        """Do nothing: runs start alone."""

    def __init__(self, run: TrackedRun):
        self.run = run
        self.last: dict[str, int] = {}

    def start(self, last: int) -> None:
        """Start a new event file, after which readers do not show what earlier ones have after step `last`."""
        from accelerate.tracking import TensorBoardTracker

        if earlier := [*self.run.path.glob(f"{EVENTS}*")]:
            self.last = {name: min(step, last) for name, step in self._last_steps().items()}
            newest = max(map(_second, earlier))
            time.sleep(min(1.0, max(0.0, newest + 1 - time.time())))  # readers order files by the second in their names
        parent, name = os.path.split(self.run.path.absolute())
        self.tracker = TensorBoardTracker(name, parent, purge_step=last + 1)
        self.tracker.start()
        if not self.last:
            self._configure()

    def _last_steps(self) -> dict[str, int]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(self.run.path), {"scalars": 1})
        events.Reload()
        return {name: events.Scalars(name)[-1].step for name in events.Tags()["scalars"]}

    def _configure(self) -> None:
        """Write the configuration: as a table, and for the page that compares runs."""
        from torch.utils.tensorboard.summary import hparams

        config = self.run.config
        values = {name: value if isinstance(value, (int, float)) else str(value) for name, value in config.items()}
        cells = {name: str(value).replace("|", "\\|") for name, value in values.items()}
        rows = "".join(f"\n| {name} | {text} |" for name, text in cells.items())
        writer = self.tracker.writer
        writer.add_text("config", f"| option | value |\n| --- | --- |{rows}", global_step=0)
        _, session_start, _ = hparams(values, {})
        writer.file_writer.add_summary(session_start)
        writer.flush()

    def has(self, name: str, step: int) -> bool:
        """Return whether an earlier event file has it."""
        return step <= self.last.get(name, 0)

    def log(self, values: Scalars, step: int) -> None:
        """Write the values of a step to the file."""
        self.tracker.log(dict(values), step=step)

    def end(self, state: str) -> None:
        """Close the file; of a finished run the page that compares runs says so."""
        from torch.utils.tensorboard.summary import hparams

        if state == FINISHED:
            _, _, session_end = hparams({}, {})
            self.tracker.writer.file_writer.add_summary(session_end)
        self.tracker.finish()


def _second(file: Path) -> int:
    """Return the time in the name of an event file, in seconds; 0 where it does not have one."""
    word = file.name.split(".")[3]
    return int(word) if word.isascii() and word.isdigit() else 0
