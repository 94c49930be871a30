"""An engine of sweeps that trains in this process: a new one would first import torch, for seconds."""

import contextlib
from collections.abc import Iterator

from stages.sweep.execution.worker import Job, Outcome, ProgressUpdate, work


class ThisProcess:
    """One job at a time, worked on when its events are asked for."""

    slots = 1

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def events(self, seconds: float) -> list[ProgressUpdate | Outcome]:
        events: list[ProgressUpdate | Outcome] = []
        if self.jobs:
            events += work(self.jobs.pop(), events.append)
        return events

    def stop(self) -> list[Outcome]:
        return []


@contextlib.contextmanager
def in_this_process(slots: int) -> Iterator[ThisProcess]:
    """Yield an engine, as `local_engine` does."""
    yield ThisProcess()
