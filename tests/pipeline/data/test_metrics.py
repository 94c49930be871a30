"""Metrics against numbers worked out by hand."""

import math

import numpy as np
import pytest

from pipeline.data.metrics import agreement, check_metric, measure
from pipeline.data.task_kinds import MULTI_LABEL, REGRESSION, SINGLE_LABEL

# predictions 1 0 1 1 0 0 against labels 1 0 0 1 1 0: TP 2, TN 2, FP 1, FN 1
LOGITS = np.array([[0, 1], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0]], np.float32)
LABELS = np.array([1, 0, 0, 1, 1, 0])
# any of two classes, predicted 10 11 00 against 10 01 01: class 0 TP 1 FP 1, class 1 TP 1 FN 1
SEVERAL = np.array([[3.0, -1.0], [1.0, 2.0], [-2.0, -3.0]])
OF_SEVERAL = np.array([[1, 0], [0, 1], [0, 1]], np.int8)


def test_classification():
    values = measure(SINGLE_LABEL, ("accuracy", "f1", "matthews_correlation", "macro_f1"), LOGITS, LABELS)
    assert values == pytest.approx({"accuracy": 4 / 6, "f1": 4 / 6, "matthews_correlation": 3 / 9, "macro_f1": 4 / 6})


def test_f1_of_a_class():
    logits = np.eye(3)[[0, 2, 2, 1]]
    values = measure(SINGLE_LABEL, ("f1:b", "f1:c", "micro_f1"), logits, np.array([0, 1, 2, 1]), ("a", "b", "c"))
    assert values == pytest.approx({"f1:b": 2 / 3, "f1:c": 2 / 3, "micro_f1": 3 / 4})


def test_multi_label():
    names = ("micro_f1", "macro_f1", "accuracy", "f1:x", "f1:y")
    values = measure(MULTI_LABEL, names, SEVERAL, OF_SEVERAL, ("x", "y"))
    by_hand = {"micro_f1": 4 / 6, "macro_f1": 2 / 3, "accuracy": 1 / 3, "f1:x": 2 / 3, "f1:y": 2 / 3}
    assert values == pytest.approx(by_hand)


def test_average_precision():
    # class 1 by its share of the two logits: order 2 1 0 3, labels 1 0 1 0: (1/1 + 2/3) / 2
    logits = np.array([[5.0, 5.0], [0.0, 1.0], [-9.0, -7.0], [8.0, 1.0]])
    labels = np.array([1, 0, 1, 0])
    assert measure(SINGLE_LABEL, ("average_precision",), logits, labels)["average_precision"] == pytest.approx(5 / 6)
    of_class = measure(SINGLE_LABEL, ("average_precision:a",), logits, labels, ("a", "b"))
    assert of_class == pytest.approx({"average_precision:a": (1 + 2 / 3) / 2})
    # class x: order 0 1 2, labels 1 0 0: 1; class y: order 1 0 2, labels 1 0 1: (1 + 2/3) / 2
    several = measure(MULTI_LABEL, ("average_precision",), SEVERAL, OF_SEVERAL)
    assert several == pytest.approx({"average_precision": (1 + 5 / 6) / 2})


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
    certain = MULTI_LABEL.with_settings({"label_threshold": 0.9})
    assert agreement(MULTI_LABEL, SEVERAL, SEVERAL, certain) == pytest.approx(2 * 1 / (3 + 1))  # 10 11 00, 10 00 00


def test_metric_that_does_not_fit_is_answered_with_those_that_do():
    with pytest.raises(ValueError, match="pearson") as error:
        check_metric(SINGLE_LABEL, ("neg", "pos"), "pearson")
    assert str(error.value) == (
        "pearson does not fit a single-label task. Use one of accuracy, matthews_correlation, f1, macro_f1, micro_f1, "
        "average_precision, f1:CLASS, average_precision:CLASS"
    )
    with pytest.raises(ValueError, match="f1") as error:
        check_metric(REGRESSION, (), "f1:pos")
    assert str(error.value) == "f1:pos does not fit a regression task. Use one of pearson, spearman"
    classes = ("neg", "pos")
    for name, meant in (
        ("ACCURACY", "accuracy"),
        ("accurracy", "accuracy"),
        ("f1-macro", "macro_f1"),
        ("MCC", "matthews_correlation"),
        ("F1:POS", "f1:pos"),
        ("f1:Pos", "f1:pos"),
    ):
        with pytest.raises(ValueError, match=rf"^there is no .*\. Use {meant}; or one of accuracy, "):
            check_metric(SINGLE_LABEL, classes, name)
    with pytest.raises(ValueError, match=r"^there is no metric 'auc'\. Use one of accuracy, "):
        check_metric(SINGLE_LABEL, classes, "auc")
    for name, problem in (("f1", "f1 is of one class"), ("f1:good", "there is no class 'good'")):
        with pytest.raises(ValueError, match=problem) as error:
            check_metric(SINGLE_LABEL, ("a", "b", "c"), name)
        assert str(error.value).endswith("average_precision:CLASS, where CLASS is one of a, b, c")
