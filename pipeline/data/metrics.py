"""Metrics as GLUE defines them, and the agreement of a student with its teacher."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind


def measure(kind: TaskKind, metrics: Sequence[str], logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return each metric of the predictions of these logits [n, C] against labels [n]."""
    return {name: _value(name, kind.predictions(logits), labels) for name in metrics}


def agreement(kind: TaskKind, student: np.ndarray, teacher: np.ndarray) -> float:
    """Return how well the predictions of two models agree, from their logits [n, C], by the kind's own measure."""
    return _value(kind.agreement_metric, kind.predictions(student), kind.predictions(teacher))


def measure_splits(
    kind: TaskKind, metrics: Sequence[str], logits: Mapping[str, np.ndarray], splits: Mapping[str, Split]
) -> dict[str, dict[str, float]]:
    """Return the metrics of each labelled split from the logits [n, C] of all its examples."""
    return {
        name: measure(kind, metrics, values, splits[name].labels)
        for name, values in logits.items()
        if splits[name].labelled
    }


def agreements(kind: TaskKind, logits: Mapping[str, np.ndarray], splits: Mapping[str, Split]) -> dict[str, float]:
    """Return the agreement of these logits with the teacher's, in each split of a cache."""
    return {name: agreement(kind, values, splits[name].column("logits")) for name, values in logits.items()}


def constant_score(kind: TaskKind, metric: str, labels: np.ndarray, num_logits: int) -> float | None:
    """Return the metric of the best constant prediction, as the most frequent label; None where there is not one."""
    constant = kind.constant_prediction(labels, num_logits)
    if constant is None:
        return None
    return measure(kind, [metric], kind.as_logits(np.full(len(labels), constant), num_logits), labels)[metric]


def _value(name: str, predicted: np.ndarray, labels: np.ndarray) -> float:
    value = float(METRICS[name](predicted, labels))
    return value if math.isfinite(value) else 0.0


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return accuracy_score(labels, predicted)


def _f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return f1_score(labels, predicted, zero_division=0)


def _matthews_correlation(predicted: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return matthews_corrcoef(labels, predicted)


def _pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return 0.0 if _is_constant(predicted, labels) else pearsonr(predicted, labels)[0]


def _spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return 0.0 if _is_constant(predicted, labels) else spearmanr(predicted, labels)[0]


def _is_constant(predicted: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether one of the two is, and so correlates with nothing."""
    return bool(len(labels) < 2 or np.ptp(predicted) == 0 or np.ptp(labels) == 0)


# Name -> value from predictions [n] and labels [n]; not finite counts as 0. Higher is better.
METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews_correlation": _matthews_correlation,
    "pearson": _pearson,
    "spearman": _spearman,
}
