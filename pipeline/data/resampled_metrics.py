"""Metrics of resampled predictions: every example counts as often as it was drawn.

The values are those of pipeline/data/metrics.py for the drawn rows (a test holds both). They are computed from the
counts, without the rows, which is a hundred times faster: a bootstrap computes each of them a thousand times.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from pipeline.data.task_kinds import TaskKind


class Predictions:
    """Predictions beside their labels, prepared for many resamples."""

    def __init__(self, kind: TaskKind, logits: np.ndarray, labels: np.ndarray, classes: Sequence[str] = ()):
        self.kind, self.logits, self.labels, self.classes = kind, logits, labels, tuple(classes)
        self.predicted = kind.predictions(logits)
        self._rankings: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    @property
    def is_multi_label(self) -> bool:
        """Whether an example can have several classes."""
        return self.labels.ndim == 2

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each prediction is right, in all of its classes: bool [n]."""
        right: np.ndarray = (self.predicted == self.labels).reshape(len(self.labels), -1).all(1)
        return right

    @cached_property
    def errors(self) -> np.ndarray:
        """The distance of each prediction from its label, float64 [n]."""
        return self.kind.errors(self.logits, self.labels)

    @cached_property
    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted scores and labels, centred: correlations do not change, and lose no digits."""
        predicted, labels = self.predicted.astype(np.float64), self.labels.astype(np.float64)
        return predicted - predicted.mean(), labels - labels.mean()

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of predictions and labels among their different values, in rising order."""
        return np.unique(self.predicted, return_inverse=True)[1], np.unique(self.labels, return_inverse=True)[1]

    def is_of(self, number: int) -> np.ndarray:
        """Return which examples have the class with this number, bool [n]."""
        return self.labels[:, number] > 0 if self.is_multi_label else self.labels == number

    def ranking(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the order by falling score of a class, which of these have the class, and the ends of equal scores."""
        if number not in self._rankings:
            scores = self.kind.log_probabilities(self.logits)[:, number] if not self.is_multi_label else None
            scores = self.logits[:, number] if scores is None else scores
            order = np.argsort(-scores, kind="stable")
            ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
            self._rankings[number] = order, self.is_of(number)[order], ends
        return self._rankings[number]


class Resample:
    """One resample: `counts` [n] says how often each example was drawn."""

    def __init__(self, predictions: Predictions, counts: np.ndarray):
        self.predictions, self.counts, self.size = predictions, counts.astype(np.float64), int(counts.sum())

    @cached_property
    def by_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The number of examples, three times [C]: of each class and predicted so; of each class; predicted so."""
        given, counts = self.predictions, self.counts
        if given.is_multi_label:
            both = (given.labels > 0) & (given.predicted > 0)
            return counts @ both, counts @ (given.labels > 0), counts @ (given.predicted > 0)
        classes = given.logits.shape[1]
        hits = np.bincount(given.labels[given.right], counts[given.right], classes)
        return hits, np.bincount(given.labels, counts, classes), np.bincount(given.predicted, counts, classes)

    def mean(self, values: np.ndarray) -> float:
        """Return the mean of values [n]."""
        return float(self.counts @ values / self.size)


def resampled(predictions: Predictions, name: str, resample: Resample) -> float:
    """Return a metric of a resample; 0 where it is not finite, as in pipeline/data/metrics.py."""
    metric, colon, of_class = name.partition(":")
    number = predictions.classes.index(of_class) if colon else None
    with np.errstate(all="ignore"):
        value = float(RESAMPLED[metric](resample, number))
    return value if np.isfinite(value) else 0.0


def _accuracy(resample: Resample, number: int | None) -> float:
    return resample.mean(resample.predictions.right)


def _f1_scores(resample: Resample) -> np.ndarray:
    hits, labelled, predicted = resample.by_class
    return 2 * hits / np.maximum(labelled + predicted, 1)


def _f1(resample: Resample, number: int | None) -> float:
    return float(_f1_scores(resample)[1 if number is None else number])


def _macro_f1(resample: Resample, number: int | None) -> float:
    _, labelled, predicted = resample.by_class
    counted = (labelled + predicted > 0) | resample.predictions.is_multi_label
    return float(_f1_scores(resample)[counted].mean())


def _micro_f1(resample: Resample, number: int | None) -> float:
    hits, labelled, predicted = resample.by_class
    return float(2 * hits.sum() / max(1.0, labelled.sum() + predicted.sum()))


def _matthews_correlation(resample: Resample, number: int | None) -> float:
    hits, labelled, predicted = resample.by_class
    size = resample.size
    covariance = hits.sum() * size - labelled @ predicted
    spread = np.sqrt(size**2 - labelled @ labelled) * np.sqrt(size**2 - predicted @ predicted)
    return float(covariance / spread) if spread else 0.0


def _average_precision(resample: Resample, number: int | None) -> float:
    classes = resample.predictions.logits.shape[1]
    chosen: Sequence[int] = range(classes) if number is None else [number]
    if classes == 2 and number is None and not resample.predictions.is_multi_label:
        chosen = [1]
    values = [_average_precision_of(resample, c) for c in chosen if resample.by_class[1][c]]
    return float(np.mean(values)) if values else 0.0


def _average_precision_of(resample: Resample, number: int) -> float:
    """Return the sum of the precisions at each score, weighted by the part of the class that has this score."""
    order, is_of_class, ends = resample.predictions.ranking(number)
    counts = resample.counts[order]
    drawn, hits = np.cumsum(counts)[ends], np.cumsum(counts * is_of_class)[ends]
    return float(np.diff(hits, prepend=0) @ (hits / np.maximum(drawn, 1)) / hits[-1])


def _pearson(resample: Resample, number: int | None) -> float:
    return _correlation(resample.counts, *resample.predictions.scores)


def _spearman(resample: Resample, number: int | None) -> float:
    ranks = []
    for places in resample.predictions.places:
        counts = np.bincount(places, resample.counts)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[places])  # the mean rank of equal values
    return _correlation(resample.counts, *ranks)


def _correlation(counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    drawn = counts > 0
    if np.ptp(first[drawn]) == 0 or np.ptp(second[drawn]) == 0:  # a constant correlates with nothing
        return 0.0
    first, second = (values / np.abs(values).max() for values in (first, second))
    first, second = (values - counts @ values / counts.sum() for values in (first, second))
    return float((counts * first) @ second / np.sqrt((counts @ first**2) * (counts @ second**2)))


def _mean_error(resample: Resample, number: int | None) -> float:
    return resample.mean(resample.predictions.errors)


def _mean_absolute_error(resample: Resample, number: int | None) -> float:
    return resample.mean(np.abs(resample.predictions.errors))


def _root_mean_square(resample: Resample, number: int | None) -> float:
    largest = float(np.abs(resample.predictions.errors).max()) or 1.0  # so that squares stay finite
    return largest * resample.mean((resample.predictions.errors / largest) ** 2) ** 0.5


RESAMPLED: Mapping[str, Callable[[Resample, int | None], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
    "average_precision": _average_precision,
    "matthews_correlation": _matthews_correlation,
    "pearson": _pearson,
    "spearman": _spearman,
    "log_loss": _mean_error,
    "mae": _mean_absolute_error,
    "rmse": _root_mean_square,
}
