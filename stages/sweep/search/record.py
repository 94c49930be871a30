"""What is known of a sweep at one moment, as plain values: what its displays show and its result counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WAITING, RUNNING, PAUSED, FINISHED, PRUNED, FAILED = "waiting", "running", "paused", "finished", "pruned", "failed"
STATES = (RUNNING, PAUSED, WAITING, FINISHED, PRUNED, FAILED)


@dataclass(frozen=True)
class TrialRecord:
    """One setting and how far it came. Scores are the task's first metric on the first labelled dev split."""

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
    rate: float = 0.0  # examples a second, of a running trial
    ended: float | None = None  # when, in seconds since 1970
    error: str | None = None  # of a failed one
    reused: bool = False  # complete before this sweep began it


@dataclass(frozen=True)
class SweepRecord:
    """The whole sweep. `planned` is how many trials there will be, 0 while nobody knows."""

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
        """The finished trial of the highest score; of equals, the first."""
        finished = [trial for trial in self.trials if trial.state == FINISHED and trial.score is not None]
        return max(finished, key=lambda trial: (trial.score, -trial.number), default=None)

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)
