"""Metrics against numbers worked out by hand."""

import math

import numpy as np
import pytest

from pipeline.data.metrics import agreement, constant_score, measure
from pipeline.data.task_kinds import REGRESSION, SINGLE_LABEL

# predictions 1 0 1 1 0 0 against labels 1 0 0 1 1 0: TP 2, TN 2, FP 1, FN 1
LOGITS = np.array([[0, 1], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0]], np.float32)
LABELS = np.array([1, 0, 0, 1, 1, 0])


def test_classification():
    values = measure(SINGLE_LABEL, ("accuracy", "f1", "matthews_correlation"), LOGITS, LABELS)
    assert values == pytest.approx({"accuracy": 4 / 6, "f1": 2 * 2 / (2 * 2 + 1 + 1), "matthews_correlation": 3 / 9})


def test_regression():
    logits, labels = np.array([[1.0], [2.0], [4.0]], np.float32), np.array([0.0, 3.0, 6.0])
    # deviations (−4/3, −1/3, 5/3) and (−3, 0, 3): 9 / sqrt(14/3 · 18)
    values = measure(REGRESSION, ("pearson", "spearman"), logits, labels)
    assert values == pytest.approx({"pearson": 9 / math.sqrt(14 / 3 * 18), "spearman": 1.0}, rel=1e-6)


def test_what_is_constant_correlates_with_nothing():
    constant, labels = np.ones((3, 1), np.float32), np.array([0.0, 3.0, 6.0])
    assert measure(REGRESSION, ("pearson", "spearman"), constant, labels) == {"pearson": 0.0, "spearman": 0.0}
    assert measure(SINGLE_LABEL, ("f1", "matthews_correlation"), LOGITS * 0, LABELS) == {
        "f1": 0.0,
        "matthews_correlation": 0.0,
    }


def test_agreement():
    assert agreement(SINGLE_LABEL, LOGITS, LOGITS * 3) == 1.0
    assert agreement(SINGLE_LABEL, LOGITS, LOGITS[::-1]) == pytest.approx(4 / 6)  # 1 0 1 1 0 0 and 0 0 1 1 0 1
    assert agreement(REGRESSION, np.array([[1.0], [2.0]]), np.array([[9.0], [5.0]])) == pytest.approx(-1.0)


def test_constant_score_is_that_of_the_most_frequent_label():
    assert constant_score(SINGLE_LABEL, "accuracy", np.array([1, 0, 1, 1]), 2) == 0.75
    assert constant_score(REGRESSION, "pearson", np.array([0.0, 1.0]), 1) is None
