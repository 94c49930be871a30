"""What models of a task are judged by, and when one is no better than a guess."""

import numpy as np
import pytest

from pipeline.data.task_kinds import MULTI_LABEL, REGRESSION, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.data.task_metrics import TaskMetrics
from pipeline.errors import BadOption

RARE = np.array([1] * 10 + [0] * 190)


def metrics(*names: str, kind=SINGLE_LABEL, classes=("neg", "pos")) -> TaskMetrics:
    return TaskMetrics(kind, names, classes)


def predicting(predictions) -> np.ndarray:
    return np.eye(2)[np.asarray(predictions)]


def test_metric_option_comes_first_and_the_others_are_reported_too():
    assert metrics("accuracy", "f1").judged_by("f1").names == ("f1", "accuracy")
    assert metrics("accuracy").judged_by("f1:neg").names == ("f1:neg", "accuracy")
    assert metrics("accuracy").judged_by(None).names == ("accuracy",)
    with pytest.raises(BadOption, match=r"^--metric: spearman does not fit a single-label task\. Use one of accuracy"):
        metrics("accuracy").judged_by("spearman")


def test_best_constant_prediction():
    assert max(metrics("accuracy").constant_scores(np.array([1, 0, 1, 1]), 2)) == 0.75
    assert max(metrics("f1").constant_scores(RARE, 2)) == pytest.approx(2 * 10 / (2 * 10 + 190))  # always pos
    assert metrics("pearson", kind=REGRESSION, classes=()).constant_scores(np.array([0.0, 1.0]), 1) == []
    labels = np.array([[1, 0], [1, 1], [1, 0]], np.int8)
    several = metrics("micro_f1", kind=MULTI_LABEL).constant_scores(labels, 2)
    assert several == pytest.approx([2 * 3 / (2 * 3 + 1), 2 * 4 / (2 * 4 + 2), 0])  # the first, both, none


def test_useful_model_of_a_rare_class_is_not_weak():
    predictions = np.concatenate([[1] * 6, [0] * 4, [1] * 12, [0] * 178])  # accuracy 0.92, always neg has 0.95
    for judge in ("accuracy", "f1", "matthews_correlation", "macro_f1"):
        assert metrics(judge).weakness(predicting(predictions), RARE) is None


def test_model_that_guesses_is_weak_by_every_metric():
    for predictions in (RARE * 0, RARE * 0 + 1, np.arange(200) % 2, np.arange(200) // 100 % 2):
        for judge in ("accuracy", "f1", "f1:pos", "macro_f1"):
            assert metrics(judge).weakness(predicting(predictions), RARE) is not None
    assert metrics("f1").weakness(predicting(RARE * 0), RARE) == (
        "f1 is 0.000, and the best constant prediction gives 0.095"
    )


def test_multi_label_model_of_rare_classes_is_not_weak():
    labels = np.zeros((100, 3), np.int8)
    labels[:60, 0], labels[60:70, 1], labels[70:75, 2] = 1, 1, 1
    judged = metrics("micro_f1", kind=MULTI_LABEL, classes=("a", "b", "c"))
    useful, constant = labels.copy(), np.zeros_like(labels)
    useful[:60, 0], constant[:, 0] = 0, 1
    assert judged.weakness(MULTI_LABEL.as_logits(useful, 3), labels) is None
    noise = np.random.default_rng(0).normal(size=labels.shape)
    assert judged.tuned(noise, labels).weakness(noise, labels) is not None
    assert judged.weakness(MULTI_LABEL.as_logits(constant, 3), labels) == (
        "micro_f1 is 0.686, and the most frequent label alone gives 0.686"
    )


def test_scores_in_other_units_are_weak_though_they_correlate():
    labels = np.array([5000.0, 5050.0, 5100.0])
    kind = SCALED_REGRESSION.with_settings({"label_mean": 70.0, "label_std": 10.0})
    scores = metrics("pearson", kind=kind, classes=())
    assert scores.score(np.array([[-1.0], [0.0], [1.0]]), labels) == pytest.approx(1)
    assert scores.weakness(np.array([[-1.0], [0.0], [1.0]]), labels) == (
        "mean squared error is 2.48e+07, and the mean label alone gives 1667. Its scores are 70 ± 8.165, the labels "
        "5050 ± 40.82; they may be in other units"
    )
    assert scores.weakness(kind.as_logits(labels[::-1], 1), labels) == (
        "mean squared error is 6667, and the mean label alone gives 1667"
    )
    assert scores.weakness(kind.as_logits(labels + 1, 1), labels) is None
    assert metrics("pearson", kind=REGRESSION, classes=()).weakness(labels[:, None] / 5, labels) is None
