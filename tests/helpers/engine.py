"""An engine of sweeps that trains in this process: a new one would first import torch, for seconds."""

import contextlib
from collections.abc import Iterator

from stages.sweep.execution.worker import Job, ProgressUpdate, TrialOutcome, work


class ThisProcess:
    """One job at a time, worked on when its events are asked for."""

    slots = 1

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def events(self, seconds: float) -> list[ProgressUpdate | TrialOutcome]:
        events: list[ProgressUpdate | TrialOutcome] = []
        if self.jobs:
            events += work(self.jobs.pop(), events.append)
        return events

    def stop(self) -> list[TrialOutcome]:
        return []


@contextlib.contextmanager
def in_this_process(slots: int) -> Iterator[ThisProcess]:
    """Yield an engine, as `local_engine` does."""
    yield ThisProcess()
