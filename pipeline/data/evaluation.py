"""Everything that predictions and labels say of a model: metrics with intervals, each class, calibration."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.data.calibration import Calibration, calibration
from pipeline.data.intervals import Interval, intervals
from pipeline.data.metrics import measure
from pipeline.data.resampled_metrics import Predictions, Resample, resampled
from pipeline.data.task_kinds import TaskKind
from pipeline.data.task_metrics import TaskMetrics


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class; `examples` is the number of examples that have it."""

    precision: float
    recall: float
    f1: float
    examples: int


@dataclass(frozen=True)
class Evaluation:
    """The worth of predictions on the labelled examples of a split; `metrics` begin with those of the task.

    `intervals` are 95 % bootstrap intervals over the examples. `per_class` is empty, and `calibration` None, for a kind
    of task without classes, and without probabilities.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    per_class: dict[str, ClassScores] = field(default_factory=dict)
    calibration: Calibration | None = None


def evaluate(metrics: TaskMetrics, logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Return the evaluation of logits [n, C] against labels of n examples, at least one of which has a label."""
    kind, classes = metrics.kind, metrics.classes
    logits, labels = labelled(kind, logits, labels)
    names = tuple(dict.fromkeys((*metrics.names, *kind.metrics(logits.shape[1]))))
    return Evaluation(
        measure(kind, names, logits, labels, classes) | errors(kind, logits, labels),
        intervals(kind, (*names, *kind.error_metrics), logits, labels, classes),
        per_class(kind, logits, labels, classes),
        calibration(kind, logits, labels),
    )


def labelled(kind: TaskKind, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits and labels of those examples that have a label."""
    has_label = kind.has_label(labels)
    return (logits, labels) if has_label.all() else (logits[has_label], labels[has_label])


def errors(kind: TaskKind, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the error metrics of the kind, of which lower is better."""
    predictions = Predictions(kind, logits, labels)
    every = Resample(predictions, np.ones(len(labels)))
    return {name: resampled(predictions, name, every) for name in kind.error_metrics}


def per_class(
    kind: TaskKind, logits: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> dict[str, ClassScores]:
    """Return the scores of each class by its name; none for a kind without classes."""
    from sklearn.metrics import precision_recall_fscore_support

    if not kind.has_classes:
        return {}
    numbers = list(range(len(classes)))
    scores = precision_recall_fscore_support(labels, kind.predictions(logits), labels=numbers, zero_division=0)
    rows = zip(*(values.tolist() for values in scores), strict=True)
    return {name: ClassScores(*row) for name, row in zip(classes, rows, strict=True)}
