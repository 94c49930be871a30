"""Bootstrap intervals and McNemar's test, against what is known of both."""

import numpy as np
import pytest
from scipy import stats

from pipeline.data.intervals import bootstrap, intervals, mcnemar, percentiles
from pipeline.data.task_kinds import REGRESSION, SINGLE_LABEL


def test_interval_of_accuracy_is_that_of_a_binomial_proportion():
    labels = np.zeros(400, np.int64)
    logits = np.where(np.arange(400)[:, None] < 300, [[1.0, 0.0]], [[0.0, 1.0]])
    low, high = intervals(SINGLE_LABEL, ["accuracy"], logits, labels)["accuracy"]
    expected = stats.binom(400, 0.75).ppf([0.025, 0.975]) / 400
    assert [low, high] == pytest.approx(expected, abs=0.01)


def test_same_predictions_have_the_same_resamples():
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(50, 1))
    labels = logits[:, 0] + draw.normal(size=50)
    first, again, other = (bootstrap(REGRESSION, ["pearson"], logits, labels, seed=seed) for seed in (0, 0, 1))
    assert (first["pearson"] == again["pearson"]).all() and (first["pearson"] != other["pearson"]).any()


def test_interval_has_the_middle_of_the_values():
    assert percentiles(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert percentiles(np.arange(101.0), 0.9) == pytest.approx((5, 95))


def test_mcnemar_is_exact_for_few_discordant_examples():
    first, second = np.array([True] * 9 + [False] * 2), np.array([False] * 8 + [True] * 3)
    test = mcnemar(first, second)
    assert (test.only_first, test.only_second) == (8, 2)
    assert test.p == pytest.approx(2 * sum(stats.binom(10, 0.5).pmf(k) for k in range(3)))


def test_mcnemar_of_many_discordant_examples_is_chi_squared():
    first = np.array([True] * 30 + [False] * 15)
    test = mcnemar(first, ~first)
    assert test.p == pytest.approx(stats.chi2(1).sf(14**2 / 45))


def test_mcnemar_of_equal_models_is_1():
    assert mcnemar(np.array([True, False]), np.array([True, False])).p == 1
