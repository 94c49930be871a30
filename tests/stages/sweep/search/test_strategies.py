"""Strategies, driven by scores that are made up: which trials they ask for, how far, and which are out."""

from types import SimpleNamespace

import pytest

from pipeline.config.sweep import SweepConfig
from stages.sweep.search.space import read_space
from stages.sweep.search.strategies import grid, halving, ranked, rehearsed, rungs, staged
from stages.sweep.search.trials import Trials


def stubs(count, warmup=0.1):
    return [SimpleNamespace(key=f"k{i}", total=9, config=SimpleNamespace(warmup=warmup)) for i in range(count)]


def drive(strategy, score):
    """All waves as (share, keep, keys); `score` gives that of a trial at a share, None for a failure."""
    waves, wave = [], next(strategy, None)
    while wave is not None:
        waves.append((round(wave.share, 3), wave.keep, [trial.key for trial in wave.trials]))
        scores = {t.key: s for t in wave.trials if (s := score(t.key, wave.share)) is not None}
        try:
            wave = strategy.send(scores)
        except StopIteration:
            wave = None
    return waves


def test_a_grid_is_one_wave_to_the_end():
    assert drive(grid(stubs(3)), lambda key, share: 0.5) == [(1.0, None, ["k0", "k1", "k2"])]


def test_halving_keeps_the_best_third_and_goes_twice_as_far():
    waves = drive(halving(stubs(12)), lambda key, share: int(key[1:]))
    assert [(share, keep) for share, keep, _ in waves] == [(0.111, 4), (0.222, 2), (0.444, 1), (1.0, None)]
    assert [keys for *_, keys in waves][1:] == [["k11", "k10", "k9", "k8"], ["k11", "k10"], ["k11"]]


def test_equal_scores_go_by_the_order_of_the_trials_and_failures_are_out():
    waves = drive(halving(stubs(6)), lambda key, share: None if key == "k0" else 0.5)
    assert [keys for *_, keys in waves] == [["k0", "k1", "k2", "k3", "k4", "k5"], ["k1", "k2"], ["k1"]]
    assert drive(halving(stubs(3)), lambda key, share: None) == [(0.111, 1, ["k0", "k1", "k2"])]
    trials = stubs(3)
    assert ranked(trials, {"k1": 0.1, "k2": 0.1}) == trials[1:]


def test_one_trial_needs_no_rung():
    assert drive(halving(stubs(1)), lambda key, share: 1.0) == [(1.0, None, ["k0"])]


@pytest.mark.parametrize(
    ("warmup", "shares"),
    [(0.0, [1 / 9, 2 / 9, 4 / 9]), (0.1, [1 / 9, 2 / 9, 4 / 9]), (0.2, [2 / 9, 4 / 9]), (0.5, [0.75]), (1.0, [])],
)
def test_rungs_lie_behind_the_warm_up(warmup, shares):
    assert rungs(warmup) == pytest.approx(shares)


def test_the_grid_of_108_costs_a_fifth():
    """108 · 1/9 + 36 · 1/9 + 12 · 2/9 + 4 · 5/9 trainings, by hand."""
    shares = [share for _, share in rehearsed(halving(stubs(108))).values()]
    assert len(shares) == 108 and sum(shares) == pytest.approx(12 + 4 + 8 / 3 + 20 / 9)
    assert sum(shares) / 108 < 0.20
    assert [share for _, share in rehearsed(grid(stubs(3))).values()] == [1.0, 1.0, 1.0]


def test_what_is_rehearsed_costs_no_less_than_the_search():
    trials = stubs(6)
    for long in trials[3:]:
        long.total = 80
    steps = sum(trial.total * share for trial, share in rehearsed(halving(trials)).values())
    # all to 1/9; of the long ones, two to 2/9 and one to the end
    assert steps == pytest.approx((3 * 9 + 3 * 80) / 9 + 80 / 9 + 80 * 8 / 9)


@pytest.fixture
def trials(tiny):
    return Trials(SweepConfig(cache=str(tiny.arrow)))


def test_settings_that_mean_the_same_are_one_trial(tiny, trials, tmp_path):
    (tmp_path / "s.toml").write_text('method = ["ft", "kd", "pkd-skip"]\nbeta = [1, 2]\nalpha = [0.2, 0.7]')
    found = trials.distinct(read_space(str(tmp_path / "s.toml"), str(tiny.arrow)).settings())
    assert [(t.settings["method"], t.settings["alpha"], t.settings["beta"]) for t in found] == [
        ("ft", None, None),
        ("kd", 0.2, None),
        ("kd", 0.7, None),
        ("pkd-skip", 0.2, 1.0),
        ("pkd-skip", 0.7, 1.0),
        ("pkd-skip", 0.2, 2.0),
        ("pkd-skip", 0.7, 2.0),
    ]
    assert len({t.config.out for t in found}) == len({t.key for t in found}) == 7
    assert "--beta" not in found[1].command and "--alpha 0.2" in found[1].command  # what has no meaning is not typed


def test_staged_searches_kd_first_and_then_beta_with_its_best(tiny, trials, tmp_path):
    (tmp_path / "s.toml").write_text("alpha = [0.2, 0.5]\nlr = [1e-3, 2e-3]\nbeta = [1, 2, 3]\nstudent_layers = [2, 3]")
    found = trials.distinct(read_space(str(tmp_path / "s.toml"), str(tiny.arrow)).settings())
    assert len(found) == 24
    assert len(rehearsed(staged(found, trials.of))) == 8 + 2 * 3
    strategy = staged(found, trials.of)
    first = next(strategy)
    assert len(first.trials) == 8 and {trial.settings["method"] for trial in first.trials} == {"kd"}
    best = {(2, 0.5, 1e-3), (3, 0.2, 2e-3)}  # of each depth: alpha and learning rate
    scores = {trial.key: float(told(trial, "student_layers", "alpha", "lr") in best) for trial in first.trials}
    second = strategy.send(scores)
    assert [told(trial, "method", "student_layers", "alpha", "lr", "beta") for trial in second.trials] == [
        *(("pkd-skip", 2, 0.5, 1e-3, beta) for beta in (1.0, 2.0, 3.0)),
        *(("pkd-skip", 3, 0.2, 2e-3, beta) for beta in (1.0, 2.0, 3.0)),
    ]
    with pytest.raises(StopIteration):
        strategy.send({})


def told(trial, *names):
    return tuple(trial.settings[name] for name in names)
