"""Metrics of resamples: the values of the metrics themselves for the rows that were drawn."""

import numpy as np
import pytest

from pipeline.data.metrics import METRICS, measure
from pipeline.data.resampled_metrics import RESAMPLED, Predictions, Resample, resampled
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SCALED_REGRESSION, SINGLE_LABEL

ONE_OF_TWO = ("single label, two classes", SINGLE_LABEL, ("no", "yes"), ("f1:no", "average_precision:no"))
ONE_OF_FOUR = ("single label, four classes", SINGLE_LABEL, ("a", "b", "c", "d"), ("f1:c", "average_precision:d"))
SEVERAL = ("multi-label", MULTI_LABEL, ("a", "b", "c"), ("f1:b",))
CHOICE = ("multiple choice", MULTIPLE_CHOICE, ("A", "B", "C", "D"), ())
SCORE = ("regression", REGRESSION, (), ())
SCALED = ("scaled regression", SCALED_REGRESSION.with_settings({"label_mean": 50.0, "label_std": 7.0}), (), ())


def predictions_of(kind, classes, rows=60):
    """Return logits and labels of which many are equal, so that ties count."""
    draw = np.random.default_rng(3)
    logits = draw.normal(size=(rows, kind.num_logits(classes))).round(1)
    if kind.label_width(len(classes)):
        return logits, (logits + draw.normal(size=logits.shape) > 0.5).astype(np.int8)
    if not classes:
        return logits, kind.predictions(logits + draw.normal(size=logits.shape).round(0))
    return logits, (logits + draw.normal(size=logits.shape)).argmax(1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "classes", "more"),
    [case[1:] for case in (ONE_OF_TWO, ONE_OF_FOUR, SEVERAL, CHOICE, SCORE, SCALED)],
    ids=[case[0] for case in (ONE_OF_TWO, ONE_OF_FOUR, SEVERAL, CHOICE, SCORE, SCALED)],
)
def test_resampled_metric_is_that_of_the_drawn_rows(kind, classes, more):
    logits, labels = predictions_of(kind, classes)
    names = (*kind.metrics(logits.shape[1]), *more)
    prepared, draw = Predictions(kind, logits, labels, classes), np.random.default_rng(4)
    for size in (60, 60, 60, 5, 1):
        counts = np.bincount(draw.integers(60, size=size), minlength=60)
        rows = np.repeat(np.arange(60), counts)
        expected = measure(kind, names, logits[rows], labels[rows], classes)
        values = {name: resampled(prepared, name, Resample(prepared, counts)) for name in names}
        assert values == pytest.approx(expected, abs=1e-9), size


def test_every_metric_can_be_resampled():
    kinds = (SINGLE_LABEL, MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION)
    assert {*METRICS, *(name for kind in kinds for name in kind.error_metrics)} == set(RESAMPLED)


def test_errors_are_those_of_scikit_learn():
    from sklearn.metrics import log_loss, mean_absolute_error, root_mean_squared_error

    def errors(kind, classes):
        logits, labels = predictions_of(kind, classes)
        prepared = Predictions(kind, logits, labels, classes)
        every = Resample(prepared, np.ones(len(labels)))
        return logits, labels, [resampled(prepared, name, every) for name in kind.error_metrics]

    logits, labels, [loss] = errors(SINGLE_LABEL, ("a", "b", "c"))
    assert loss == pytest.approx(log_loss(labels, SINGLE_LABEL.probabilities(logits)))
    logits, labels, [loss] = errors(MULTI_LABEL, ("a", "b", "c"))
    assert loss == pytest.approx(log_loss(labels.ravel(), MULTI_LABEL.probabilities(logits).ravel()))
    logits, labels, [rmse, mae] = errors(kind := SCALED[1], ())
    scores = kind.predictions(logits)
    assert [rmse, mae] == pytest.approx([root_mean_squared_error(labels, scores), mean_absolute_error(labels, scores)])
