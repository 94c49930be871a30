"""Weights & Biases, and Trackio, which has the same interface."""

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from pipeline.training.trackers.tracked_run import FAILED, FINISHED, STOPPED, Scalars, TrackedRun


class WandB:
    """A run of Weights & Biases; its variables (WANDB_…) say where and how."""

    package: ClassVar[str] = "wandb"
    extra: ClassVar[str | None] = None
    advice: ClassVar[str] = "Run: wandb login, or set WANDB_MODE=offline"
    codes: ClassVar[Mapping[str, int]] = {FINISHED: 0, STOPPED: 255, FAILED: 1}

    @staticmethod
    def prepare(project: str) -> None:
        """Do nothing: runs start alone."""

    def __init__(self, run: TrackedRun):
        self.run = run

    def start(self, last: int) -> None:
        """Start a run, or go on with the recorded one, beside others of this process."""
        from accelerate.tracking import WandBTracker

        run_id = self.run.recorded_id("wandb") or uuid.uuid4().hex[:12]
        options: dict[str, Any] = {"id": run_id, "resume": "allow", "reinit": "create_new", "group": self.run.group}
        self.tracker = WandBTracker(self.run.project, name=self.run.name, config=dict(self.run.config), **options)
        self.tracker.start()
        self.first = self.tracker.run.step
        self.run.record_id("wandb", run_id)

    def has(self, name: str, step: int) -> bool:
        """Return whether the run has it: it does not take steps that it has passed."""
        return step < self.first

    def log(self, values: Scalars, step: int) -> None:
        """Send the values of a step."""
        self.tracker.log(dict(values), step=step)

    def end(self, state: str) -> None:
        """End the run with its state."""
        self.tracker.run.finish(exit_code=self.codes[state])


class Trackio:
    """A run of Trackio; its variables (TRACKIO_…) say where. What a killed training repeats is there twice."""

    package: ClassVar[str] = "trackio"
    extra: ClassVar[str | None] = None
    advice: ClassVar[str] = "Check TRACKIO_SPACE_ID and TRACKIO_DIR"

    @staticmethod
    def prepare(project: str) -> None:
        """Do nothing: runs start alone."""

    def __init__(self, run: TrackedRun):
        self.run = run

    def start(self, last: int) -> None:
        """Start a run, or go on with the recorded one."""
        from accelerate.tracking import TrackioTracker

        recorded = self.run.recorded_id("trackio")
        run_id = recorded or uuid.uuid4().hex[:12]
        options: dict[str, Any] = {"resume": "allow", "group": self.run.group, "config": dict(self.run.config)}
        self.tracker = TrackioTracker(self.run.project, name=f"{self.run.name}-{run_id}", **options)
        self.tracker.start()
        self.last = last if recorded else 0
        self.run.record_id("trackio", run_id)

    def has(self, name: str, step: int) -> bool:
        """Return whether it was sent before the checkpoint."""
        return step <= self.last

    def log(self, values: Scalars, step: int) -> None:
        """Send the values of a step."""
        self.tracker.log(dict(values), step=step)

    def end(self, state: str) -> None:
        """End the run."""
        self.tracker.finish()
