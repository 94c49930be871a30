"""`sweep compare`: means with their intervals, by the values of each option."""

import json
from pathlib import Path

import pytest

from stages.sweep.compare import row


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
