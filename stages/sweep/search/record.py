"""The state of a sweep at one moment, as plain values: its displays, its JSON lines and its comparisons read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WAITING, RUNNING, PAUSED, FINISHED, PRUNED, FAILED = "waiting", "running", "paused", "finished", "pruned", "failed"
STATES = (RUNNING, PAUSED, WAITING, FINISHED, PRUNED, FAILED)


@dataclass(frozen=True)
class TrialRecord:
    """One trial and how far it came. Scores are the task's first metric on the first labelled dev split."""

    number: int  # from 0, in the order in which they were first tried
    state: str
    parameters: Mapping[str, Any]  # the options that differ between trials: name -> value, None without meaning
    method: str  # ft, kd, pkd-skip, pkd-last, pkd-custom
    command: str  # the train-student line of this very trial
    out: str  # its run directory
    score: float | None = None  # of the weights that were kept; of a trial that did not finish: its last rung
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # split -> metric -> value
    curve: tuple[tuple[int, float], ...] = ()  # (optimizer steps, score) of each evaluation, rising
    steps: int = 0  # done
    total: int = 0  # of a full training
    examples: int = 0  # trained on, in this sweep
    seconds: float = 0.0
    rate: float = 0.0  # examples per second, of a running trial
    ended: float | None = None  # when, in seconds since 1970
    error: str | None = None  # of a failed one
    reused: bool = False  # complete before this sweep started it


@dataclass(frozen=True)
class SweepRecord:
    """A sweep and all its trials. `planned` is how many trials there will be, 0 while that is not known."""

    name: str
    command: str
    strategy: str
    metric: str
    caches: Mapping[str, str]  # location -> identity
    trials: tuple[TrialRecord, ...]
    planned: int
    finished: bool
    seconds: float  # of all calls together

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial with the highest score; of equals, the first."""
        finished = [trial for trial in self.trials if trial.state == FINISHED and trial.score is not None]
        return max(finished, key=lambda trial: (trial.score, -trial.number), default=None)

    def count(self, state: str) -> int:
        """Return the number of trials in a state."""
        return sum(trial.state == state for trial in self.trials)


@dataclass(frozen=True)
class SweepStatus:
    """The last line of `sweep status` and `sweep show`."""

    command: str
    sweep: str
    finished: bool
    planned: int
    trials: dict[str, int]  # state -> number
    best: str | None  # its run directory
    score: float | None
    examples_trained: int
    seconds: float


def sweep_status(record: SweepRecord, command: str, sweep: str) -> SweepStatus:
    """Return the status of the sweep in directory `sweep` as the result of `command`."""
    best = record.best
    return SweepStatus(
        command,
        sweep,
        record.finished,
        record.planned,
        {state: record.count(state) for state in STATES},
        best.out if best else None,
        best.score if best else None,
        sum(trial.examples for trial in record.trials),
        round(record.seconds, 2),
    )
