"""The state of a training and its result, as values for a checkpoint and for run.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """Metrics on the first dev split after `step` optimizer steps."""

    step: int
    epoch: float
    metrics: Mapping[str, float]

    @property
    def score(self) -> float:
        """The task's first metric."""
        return next(iter(self.metrics.values()))


@dataclass(frozen=True)
class TrainingResult:
    """The result of a finished training. The weights that were kept are in the learner."""

    steps: int
    best: Evaluation | None
    last: Evaluation | None
    stopped_early: bool
    examples_per_second: float

    def as_json(self) -> dict[str, Any]:
        """Return it for run.json: both evaluations, whichever weights were kept."""
        best, last = _plain(self.best), _plain(self.last)
        return {"steps": self.steps, "best": best, "last": last, "stopped_early": self.stopped_early}


@dataclass(frozen=True)
class PausedTraining:
    """A training that was asked to stop at a step. Its checkpoint goes on from there.

    `evaluation` is of the weights at that step; it does not count when the best ones are chosen.
    """

    step: int
    total: int
    evaluation: Evaluation


@dataclass(frozen=True)
class Progress:
    """The progress of a training that is watched. `examples` and `seconds` are of this call alone."""

    step: int
    total: int
    examples: int
    seconds: float
    last: Evaluation | None


@dataclass
class TrainingState:
    """The state of a training; with the learner's state it is the checkpoint."""

    step: int = 0
    best: Evaluation | None = None
    last: Evaluation | None = None
    waited: int = 0  # evaluations since the best

    def as_json(self) -> dict[str, Any]:
        """Return it for the header of a checkpoint."""
        return {
            "step": self.step,
            "best": _plain(self.best),
            "last": _plain(self.last),
            "waited": self.waited,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingState":
        """Return the state in a header. Raises KeyError or TypeError for another value."""
        best, last = (Evaluation(**value[k]) if value[k] else None for k in ("best", "last"))
        return cls(value["step"], best, last, value["waited"])


def _plain(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return vars(evaluation) if evaluation else None
