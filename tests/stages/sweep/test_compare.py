"""`sweep compare`: means with their intervals, by the values of each option."""

import json
from pathlib import Path

import pytest

from pipeline.errors import BadOption
from stages.sweep.compare import row
from stages.sweep.report.paired import differences
from stages.sweep.search.record import TrialRecord


def test_row_has_mean_deviation_and_interval_as_by_hand():
    """Mean 2, deviation 1; t of 2 degrees of freedom at 97.5 % is 4.302653: 2 ± 4.302653 / √3."""
    found = row("5", [1.0, 2.0, 3.0])
    assert (found.value, found.trials, found.mean, found.deviation, found.best) == ("5", 3, 2.0, 1.0, 3.0)
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    lone = row("10", [0.5])
    assert (lone.mean, lone.deviation, lone.low, lone.high) == (0.5, None, None, None)


def test_compare_lists_scores_by_value_and_writes_them(sweeps, call):
    compared = call("sweep", "compare", "sweeps/grid", "--out", "results/grid.json")
    assert compared.code == 0 and list(compared.json["by"]) == ["lr", "beta"]
    assert [(one["value"], one["trials"]) for one in compared.json["by"]["lr"]] == [("0.0001", 2), ("0.001", 2)]
    written = json.loads(Path("results/grid.json").read_text())
    assert written["by"] == compared.json["by"]
    assert [(one["lr"], one["beta"]) for one in written["trials"]] == [
        (lr, b) for lr in (1e-4, 1e-3) for b in (100, 1000)
    ]
    assert written["command"] == "python cli.py sweep compare sweeps/grid --out results/grid.json"
    only = call("sweep", "compare", "sweeps/grid", "--by", "beta")
    assert list(call("sweep", "compare", "sweeps/grid", "--by", "lr, beta").json["by"]) == ["lr", "beta"]
    assert list(only.json["by"]) == ["beta"] and "95% interval of the mean" in only.stdout


def test_compare_by_an_option_that_does_not_differ_is_refused(sweeps, call):
    wrong = call("sweep", "compare", "sweeps/grid", "--by", "alpha")
    assert wrong.code == 2 and wrong.error.endswith("--by alpha: the options that differ in sweeps/grid are lr, beta")


def test_compare_pairs_trials_and_writes_their_differences(sweeps, call):
    words = ["sweep", "compare", "sweeps/grid", "--by", "lr", "--against", "0.0001", "--pair-by", "beta"]
    compared = call(*words, "--metric", "accuracy", "--out", "grid.json")
    written = json.loads(Path("grid.json").read_text())
    score = {(one["lr"], one["beta"]): one["score"] for one in written["trials"]}
    pairs = [score[1e-3, beta] - score[1e-4, beta] for beta in (100, 1000)]
    [found] = compared.json["differences"]
    assert (found["value"], found["pairs"]) == ("0.001", 2) and found["mean"] == pytest.approx(sum(pairs) / 2)
    assert written["differences"] == [found] and "minus 0.0001's" in compared.stdout


@pytest.mark.parametrize(
    "options, problem",
    [
        (["--by", "lr", "--against", "7", "--pair-by", "beta"], "--against 7: the values of lr are 0.0001, 0.001"),
        (["--by", "lr", "--against", "0.0001"], "--pair-by seed: the options that differ in sweeps/grid are lr, beta"),
        (["--by", "lr", "--against", "0.0001", "--pair-by", "lr,beta"], "no trial of lr 0.001 has a partner of 0.0001"),
        (["--against", "0.0001"], "--against 0.0001 is a value of one option: name it with --by"),
        (["--by", "lr", "--metric", "f2"], "--metric f2: the metrics of runs/"),
    ],
)
def test_comparison_that_cannot_be_made_is_refused(sweeps, call, options, problem):
    wrong = call("sweep", "compare", "sweeps/grid", *options)
    assert wrong.code == 2 and problem in wrong.error


def test_two_trials_that_could_be_in_one_pair_are_refused():
    trials = [(TrialRecord(n, "finished", {"m": m, "seed": 1}, "kd", "", ""), 0.5) for n, m in enumerate("aab")]
    with pytest.raises(BadOption, match="two trials of m a have seed 1: add to --pair-by"):
        differences(trials, "m", "b", ["seed"])
