"""The evaluation of predictions, for each kind of task."""

import numpy as np
import pytest

from pipeline.data.evaluation import ClassScores, evaluate
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.data.task_metrics import TaskMetrics


def test_single_label_has_its_own_metrics_first_and_every_other_one():
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    given = evaluate(TaskMetrics(SINGLE_LABEL, ("f1", "accuracy"), ("no", "yes")), logits, np.array([0, 1, 0, 0]))
    assert list(given.metrics) == [
        *("f1", "accuracy", "matthews_correlation", "macro_f1", "micro_f1", "average_precision", "log_loss")
    ]
    assert given.metrics["accuracy"] == 0.75 and given.metrics["f1"] == pytest.approx(2 / 3)
    assert given.per_class == {
        "no": ClassScores(1.0, pytest.approx(2 / 3), pytest.approx(0.8), 3),
        "yes": ClassScores(0.5, 1.0, pytest.approx(2 / 3), 1),
    }
    assert list(given.intervals) == list(given.metrics)
    assert all(low <= given.metrics[name] <= high for name, (low, high) in given.intervals.items())
    assert sum(part.examples for part in given.calibration.bins) == 4


def test_rows_without_a_label_do_not_count():
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 1.0]])
    given = evaluate(TaskMetrics(SINGLE_LABEL, ("accuracy",), ("no", "yes")), logits, np.array([0, 1, -1]))
    assert given.metrics["accuracy"] == 1 and given.per_class["no"].examples == 1


def test_multi_label_counts_each_class():
    logits, labels = np.array([[3.0, -3.0, -3.0], [3.0, 3.0, -3.0]]), np.array([[1, 0, 0], [0, 1, 0]], np.int8)
    given = evaluate(TaskMetrics(MULTI_LABEL, ("micro_f1",), ("a", "b", "c")), logits, labels)
    assert given.metrics["micro_f1"] == pytest.approx(0.8) and given.metrics["accuracy"] == 0.5
    assert {name: scores.examples for name, scores in given.per_class.items()} == {"a": 1, "b": 1, "c": 0}
    assert sum(part.examples for part in given.calibration.bins) == 6


def test_regression_is_in_the_units_of_its_labels():
    kind = SCALED_REGRESSION.with_settings({"label_mean": 100.0, "label_std": 10.0})
    given = evaluate(
        TaskMetrics(kind, ("pearson",), ()), np.array([[0.0], [1.0], [2.0]]), np.array([103.0, 107.0, 120.0])
    )
    assert given.metrics["rmse"] == pytest.approx(6**0.5) and given.metrics["mae"] == pytest.approx(2)
    assert given.per_class == {} and given.calibration is None


def test_choices_are_not_classes():
    given = evaluate(TaskMetrics(MULTIPLE_CHOICE, ("accuracy",), ("A", "B")), np.eye(2), np.array([0, 1]))
    assert list(given.metrics) == ["accuracy", "log_loss"] and given.per_class == {}
    assert given.calibration is not None
