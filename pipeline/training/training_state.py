"""Where a training stands and how it ended, as values that go into a checkpoint and into run.json."""

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
    """How a training went. The learner holds the weights that were kept."""

    steps: int
    best: Evaluation | None
    last: Evaluation | None
    stopped_early: bool
    examples_per_second: float

    def as_json(self) -> dict[str, Any]:
        """For run.json: both evaluations, whichever weights were kept."""
        best, last = _plain(self.best), _plain(self.last)
        return {"steps": self.steps, "best": best, "last": last, "stopped_early": self.stopped_early}


@dataclass(frozen=True)
class PausedTraining:
    """A training that was to go so far and no further. Its checkpoint goes on from there.

    `evaluation` is of the weights as they are there; it does not count when the best ones are chosen.
    """

    step: int
    total: int
    evaluation: Evaluation


@dataclass(frozen=True)
class Progress:
    """What a training in progress tells whoever watches it. `examples` and `seconds` are of this call alone."""

    step: int
    total: int
    examples: int
    seconds: float
    last: Evaluation | None


@dataclass
class TrainingState:
    """Where a training stands; with the learner's state it is the checkpoint."""

    step: int = 0
    best: Evaluation | None = None
    last: Evaluation | None = None
    waited: int = 0  # evaluations since the best

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "best": _plain(self.best),
            "last": _plain(self.last),
            "waited": self.waited,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingState":
        best, last = (Evaluation(**value[k]) if value[k] else None for k in ("best", "last"))
        return cls(value["step"], best, last, value["waited"])


def _plain(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return vars(evaluation) if evaluation else None
