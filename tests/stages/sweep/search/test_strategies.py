"""Strategies, driven by invented scores: which trials they run, how far, and which are pruned."""

from dataclasses import fields

import pytest

from pipeline.config.sweep import STRATEGIES as NAMES
from pipeline.config.sweep import SweepConfig
from stages.sweep.search.space import read_space
from stages.sweep.search.strategies import STRATEGIES, grid, halving, staged
from stages.sweep.search.trials import Trials
from stages.sweep.search.waves import dry_run, ranked
from tests.helpers.sweeps import drive, stub_trials


def test_table_has_the_names_that_the_option_takes():
    (option,) = [field for field in fields(SweepConfig) if field.name == "strategy"]
    assert tuple(STRATEGIES) == tuple(NAMES) == option.metadata["choices"]


def test_table_options_are_those_of_the_sweep():
    names = {name for entry in STRATEGIES.values() for name in entry.options}
    assert names == {"trials", "seed"} and names <= {field.name for field in fields(SweepConfig)}


def test_a_grid_is_one_wave_to_the_end():
    assert drive(grid(stub_trials(3)), lambda key, share: 0.5) == [(1.0, None, ["k0", "k1", "k2"])]


def test_halving_keeps_the_best_third_and_goes_twice_as_far():
    waves = drive(halving(stub_trials(12)), lambda key, share: int(key[1:]))
    assert [(share, keep) for share, keep, _ in waves] == [(0.111, 4), (0.222, 2), (0.444, 1), (1.0, None)]
    assert [keys for *_, keys in waves][1:] == [["k11", "k10", "k9", "k8"], ["k11", "k10"], ["k11"]]


def test_equal_scores_go_by_the_order_of_the_trials_and_failures_are_pruned():
    waves = drive(halving(stub_trials(6)), lambda key, share: None if key == "k0" else 0.5)
    assert [keys for *_, keys in waves] == [["k0", "k1", "k2", "k3", "k4", "k5"], ["k1", "k2"], ["k1"]]
    assert drive(halving(stub_trials(3)), lambda key, share: None) == [(0.111, 1, ["k0", "k1", "k2"])]
    trials = stub_trials(3)
    assert ranked(trials, {"k1": 0.1, "k2": 0.1}) == trials[1:]


def test_one_trial_needs_no_rung():
    assert drive(halving(stub_trials(1)), lambda key, share: 1.0) == [(1.0, None, ["k0"])]


@pytest.fixture
def trials(tiny):
    return Trials(SweepConfig(cache=str(tiny.arrow)))


def test_staged_searches_kd_first_and_then_beta_with_its_best(tiny, trials, tmp_path):
    (tmp_path / "s.toml").write_text("alpha = [0.2, 0.5]\nlr = [1e-3, 2e-3]\nbeta = [1, 2, 3]\nstudent_layers = [2, 3]")
    found = trials.distinct(read_space(str(tmp_path / "s.toml"), str(tiny.arrow)).settings())
    assert len(found) == 24
    start = staged(found, trials.make)
    assert len(dry_run(start())) == 8 + 2 * 3
    strategy = start()
    first = next(strategy)
    assert len(first.trials) == 8 and {trial.recipe.options["method"] for trial in first.trials} == {"kd"}
    best = {(2, 0.5, 1e-3), (3, 0.2, 2e-3)}  # of each depth: alpha and learning rate
    scores = {trial.key: float(options(trial, "student_layers", "alpha", "lr") in best) for trial in first.trials}
    second = strategy.send(scores)
    assert [options(trial, "method", "student_layers", "alpha", "lr", "beta") for trial in second.trials] == [
        *(("pkd-skip", 2, 0.5, 1e-3, beta) for beta in (1.0, 2.0, 3.0)),
        *(("pkd-skip", 3, 0.2, 2e-3, beta) for beta in (1.0, 2.0, 3.0)),
    ]
    with pytest.raises(StopIteration):
        strategy.send({})


def options(trial, *names):
    return tuple(trial.recipe.options[name] for name in names)
