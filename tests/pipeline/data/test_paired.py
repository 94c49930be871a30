"""Paired differences of two models on the same examples."""

import numpy as np
import pytest

from pipeline.data.intervals import intervals
from pipeline.data.paired import paired_difference
from pipeline.data.task_kinds import MULTI_LABEL, SINGLE_LABEL
from pipeline.data.task_metrics import TaskMetrics

METRICS = TaskMetrics(SINGLE_LABEL, ("accuracy",), ("no", "yes"))
RIGHT, WRONG = [2.0, 0.0], [0.0, 2.0]


def logits_of(right: int, examples: int) -> np.ndarray:
    return np.array([RIGHT] * right + [WRONG] * (examples - right))


def test_paired_interval_is_narrower_than_that_of_either_model():
    first, second, labels = logits_of(160, 200), logits_of(150, 200), np.zeros(200, np.int64)
    pair = paired_difference(METRICS, first, METRICS, second, labels)
    assert pair.difference == pytest.approx(0.05) and pair.metric == "accuracy"
    low, high = pair.interval
    alone = intervals(SINGLE_LABEL, ["accuracy"], first, labels)["accuracy"]
    assert 0 < low < 0.05 < high and high - low < (alone[1] - alone[0]) * 0.7
    assert (pair.test.only_first, pair.test.only_second) == (10, 0)


def test_equal_models_do_not_differ():
    logits = logits_of(5, 10)
    pair = paired_difference(METRICS, logits, METRICS, logits, np.array([0] * 9 + [-1]))
    assert (pair.difference, pair.interval, pair.test.p) == (0, (0, 0), 1)


def test_multi_label_is_compared_without_mcnemar():
    metrics = TaskMetrics(MULTI_LABEL, ("micro_f1",), ("a", "b"))
    labels = np.array([[1, 0], [0, 1]], np.int8)
    pair = paired_difference(metrics, 2.0 * labels - 1, metrics, np.ones((2, 2)), labels)
    assert pair.test is None and pair.difference == pytest.approx(1 / 3)
