"""Rungs, ranks and the dry run of a strategy."""

import pytest

from stages.sweep.search.strategies import grid, halving
from stages.sweep.search.waves import dry_run, rungs
from tests.helpers.sweeps import stub_trials


@pytest.mark.parametrize(
    ("warmup", "shares"),
    [(0.0, [1 / 9, 2 / 9, 4 / 9]), (0.1, [1 / 9, 2 / 9, 4 / 9]), (0.2, [2 / 9, 4 / 9]), (0.5, [0.75]), (1.0, [])],
)
def test_rungs_come_after_the_warm_up(warmup, shares):
    assert rungs(warmup) == pytest.approx(shares)


def test_dry_run_of_halving_108_settings_costs_a_fifth():
    """108 · 1/9 + 36 · 1/9 + 12 · 2/9 + 4 · 5/9 trainings, by hand."""
    shares = [share for _, share in dry_run(halving(stub_trials(108))).values()]
    assert len(shares) == 108 and sum(shares) == pytest.approx(12 + 4 + 8 / 3 + 20 / 9)
    assert sum(shares) / 108 < 0.20
    assert [share for _, share in dry_run(grid(stub_trials(3))).values()] == [1.0, 1.0, 1.0]


def test_dry_run_lets_the_longest_trials_win():
    trials = stub_trials(6)
    for long in trials[3:]:
        long.total = 80
    steps = sum(trial.total * share for trial, share in dry_run(halving(trials)).values())
    # all to 1/9; of the long ones, two to 2/9 and one to the end
    assert steps == pytest.approx((3 * 9 + 3 * 80) / 9 + 80 / 9 + 80 * 8 / 9)
