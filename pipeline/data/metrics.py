"""Metrics as GLUE defines them, and the agreement of a student with its teacher."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.data.splits import Split


def metrics_of(classes: int) -> tuple[str, ...]:
    """The metrics that can be measured of so many logits."""
    if classes == 1:
        return ("pearson", "spearman")
    return ("accuracy", "matthews_correlation", "f1") if classes == 2 else ("accuracy", "matthews_correlation")


def predictions(logits: np.ndarray) -> np.ndarray:
    """[n] from logits [n, C]: the label of the largest, or the score itself for C = 1."""
    return logits[:, 0] if logits.shape[1] == 1 else logits.argmax(1)


def measure(metrics: Sequence[str], logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Each metric of these logits [n, C] against labels [n]."""
    return {name: _metric(name, predictions(logits), labels) for name in metrics}


def agreement(student: np.ndarray, teacher: np.ndarray) -> float:
    """Share of examples on which both logits [n, C] predict the same label; Pearson correlation for C = 1."""
    a, b = predictions(student), predictions(teacher)
    return _metric("pearson" if student.shape[1] == 1 else "accuracy", a, b)


def measure_splits(
    metrics: Sequence[str], logits: Mapping[str, np.ndarray], splits: Mapping[str, Split]
) -> dict[str, dict[str, float]]:
    """The metrics of each labelled split from the logits [n, C] of all its examples."""
    return {
        name: measure(metrics, values, splits[name].labels) for name, values in logits.items() if splits[name].labelled
    }


def agreements(logits: Mapping[str, np.ndarray], splits: Mapping[str, Split]) -> dict[str, float]:
    """The agreement of these logits with the teacher's, in each split of a cache."""
    return {name: agreement(values, splits[name].whole("logits")) for name, values in logits.items()}


def _metric(name: str, predicted: np.ndarray, labels: np.ndarray) -> float:
    import scipy.stats
    import sklearn.metrics

    match name:
        case "accuracy":
            value = sklearn.metrics.accuracy_score(labels, predicted)
        case "f1":
            value = sklearn.metrics.f1_score(labels, predicted, zero_division=0)
        case "matthews_correlation":
            value = sklearn.metrics.matthews_corrcoef(labels, predicted)
        case "pearson" | "spearman":
            constant = len(labels) < 2 or np.ptp(predicted) == 0 or np.ptp(labels) == 0
            correlate = scipy.stats.pearsonr if name == "pearson" else scipy.stats.spearmanr
            value = 0.0 if constant else correlate(predicted, labels)[0]  # a constant correlates with nothing
        case _:
            raise ValueError(f"no metric {name}")
    return float(value) if math.isfinite(value) else 0.0
