"""Caches whose training rows have labels in part: read, measured on the labelled rows, and not believed blindly."""

import numpy as np
import pytest

from pipeline.data.task_kinds import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from pipeline.data.task_metrics import TaskMetrics


@pytest.mark.parametrize("kind, label", [(SINGLE_LABEL, 1), (REGRESSION, 0.5), (MULTI_LABEL, [1, 0])])
def test_metrics_are_those_of_the_labelled_rows(kind, label):
    classes = 1 if kind is REGRESSION else 2
    labels = np.concatenate([kind.without_labels(3, classes), np.array([label] * 2, kind.label_dtype)])
    logits = np.random.default_rng(0).normal(size=(5, classes))
    metrics = TaskMetrics(kind, kind.metrics(classes)[:1], ("a", "b")[:classes] if kind.has_classes else ())
    assert metrics.measure(logits, labels) == pytest.approx(metrics.measure(logits[3:], labels[3:]), nan_ok=True)
