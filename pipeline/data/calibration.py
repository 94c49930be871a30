"""Whether a model is right as often as it says: reliability bins, and the expected calibration error."""

from dataclasses import dataclass

import numpy as np

from pipeline.data.task_kinds import TaskKind

BINS = 10  # of equal width, from 0 to 1


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence is from `low` to `high`: their mean confidence, and how many of them are right."""

    low: float
    high: float
    examples: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The bins that have examples, and the mean distance of confidence and accuracy in them, weighted by examples."""

    error: float
    bins: tuple[Bin, ...]


def calibration(kind: TaskKind, logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
    """Return the calibration of the predictions of logits [n, C] for labels; None for a kind without probabilities.

    The confidence is the probability of the predicted class. In a multi-label task, each class of each example counts
    as one: its probability, and whether the example has the class.
    """
    given = kind.confidences(logits, labels)
    if given is None:
        return None
    confidence, right = given
    places = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for place in np.unique(places).tolist():
        inside = places == place
        means = float(confidence[inside].mean()), float(right[inside].mean())
        bins.append(Bin(place / BINS, (place + 1) / BINS, int(inside.sum()), *means))
    error = sum(part.examples * abs(part.confidence - part.accuracy) for part in bins) / len(confidence)
    return Calibration(error, tuple(bins))
