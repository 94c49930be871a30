"""The table of methods: means and intervals over seeds or examples, paired differences, and which setting is shown."""

import pytest

from stages.report.comparison import EXAMPLES_BASIS, SEEDS_BASIS, compare
from tests.helpers.reports import distillation, student


def test_mean_and_interval_over_seeds_are_students_t():
    (row,) = compare(distillation(*(student("kd", right, seed) for seed, right in enumerate((30, 32, 34))))).rows
    assert (row.score.mean, row.score.basis, row.score.count) == (pytest.approx(0.8), SEEDS_BASIS, 3)
    half = 4.302653 * 0.05 / 3**0.5  # t of two degrees, standard deviation 0.05
    assert (row.score.low, row.score.high) == (pytest.approx(0.8 - half), pytest.approx(0.8 + half))


def test_one_seed_has_an_interval_over_examples():
    (row,) = compare(distillation(student("kd", 32))).rows
    assert (row.score.mean, row.score.basis) == (0.8, EXAMPLES_BASIS)
    assert 0.6 < row.score.low < 0.75 and 0.85 < row.score.high < 1


def test_differences_to_ft_are_paired_by_seed():
    runs = [
        student("ft", 20, 1),
        student("ft", 30, 2),
        student("kd", 34, 2),
        student("kd", 24, 1),
        student("kd", 40, 3),
    ]
    ft, kd = compare(distillation(*runs)).rows
    assert ft.to_control is None
    assert (kd.to_control.mean, kd.to_control.count) == (pytest.approx(0.1), 2)
    assert (kd.to_control.low, kd.to_control.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_one_pair_is_compared_on_the_same_resamples():
    _, kd = compare(distillation(student("ft", 32), student("kd", 32))).rows
    assert (kd.to_control.low, kd.to_control.mean, kd.to_control.high) == (0, 0, 0)  # they have the same rows right


def test_students_of_another_depth_or_without_a_common_seed_are_not_compared():
    rows = compare(distillation(student("ft", 20, 1), student("kd", 30, 2), student("kd", 34, 1, depth=4))).rows
    assert [row.to_control for row in rows] == [None, None, None]
    assert [row.name for row in rows] == ["FT, 3 layers", "KD, 3 layers", "KD, 4 layers"]


def test_setting_of_most_seeds_is_shown_and_of_these_the_best():
    runs = [student("kd", right, seed, lr=lr) for lr, right in ((1e-5, 30), (2e-5, 34)) for seed in (1, 2)]
    (row,) = compare(distillation(*runs, student("kd", 40, 1, lr=5e-5))).rows
    assert (row.name, row.config["lr"], len(row.runs), row.settings) == ("KD", 2e-5, 2, 3)


def test_teacher_is_measured_with_an_interval_over_examples():
    comparison = compare(distillation(student("kd", 32), teacher=36))
    assert comparison.teacher.mean == 0.9 and comparison.teacher.low < 0.9 < comparison.teacher.high
    assert comparison.best.path.name == "kd-3-0-" and comparison.is_share
