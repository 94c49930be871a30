"""The certainty of a metric: bootstrap intervals over the examples, for one model and for the difference of two.

A resample draws as many examples as there are, with replacement. Models of the same examples see the same resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.resampled_metrics import Predictions, Resample, resampled
from pipeline.data.task_kinds import TaskKind

LEVEL = 0.95
RESAMPLES = 1000
FEW_DISCORDANT = 25  # below, McNemar's test is exact

Interval = tuple[float, float]


def bootstrap(
    kind: TaskKind,
    metrics: Sequence[str],
    logits: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return each metric of each resample, float64 [resamples], from logits [n, C] and labels of all n examples.

    Metrics are those of pipeline/data/metrics.py and the kind's error metrics; `classes` are the names of the classes.
    """
    predictions = Predictions(kind, logits, labels, classes)
    draw, size = np.random.default_rng(seed), len(labels)
    values = np.empty((len(metrics), resamples))
    for number in range(resamples):
        resample = Resample(predictions, np.bincount(draw.integers(size, size=size), minlength=size))
        values[:, number] = [resampled(predictions, name, resample) for name in metrics]
    return dict(zip(metrics, values, strict=True))


def percentiles(values: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the interval that has the middle part `level` of these values."""
    low, high = np.percentile(values, (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)


def intervals(
    kind: TaskKind, metrics: Sequence[str], logits: np.ndarray, labels: np.ndarray, classes: Sequence[str] = ()
) -> dict[str, Interval]:
    """Return the 95 % bootstrap interval of each metric; see `bootstrap`."""
    return {name: percentiles(values) for name, values in bootstrap(kind, metrics, logits, labels, classes).items()}


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two models on the same examples: `only_first` are those that the first alone has right."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Return McNemar's test of which predictions of two models are right, bool [n] each.

    p is two-sided, exact (binomial) below 25 discordant examples, else of chi-squared with continuity correction.
    """
    from scipy import stats

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    if discordant == 0:
        p = 1.0
    elif discordant < FEW_DISCORDANT:
        p = float(stats.binomtest(only_first, discordant).pvalue)
    else:
        p = float(stats.chi2.sf(max(0, abs(only_first - only_second) - 1) ** 2 / discordant, 1))
    return McNemar(only_first, only_second, p)
