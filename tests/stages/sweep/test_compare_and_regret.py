"""What finished sweeps say: means with their intervals, and the regret of a cheaper search."""

import json
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages.sweep import regret
from stages.sweep.compare import row
from stages.sweep.regret import halves, winners
from stages.sweep.search.record import FINISHED


def test_a_row_by_hand():
    """Mean 2, deviation 1; t of 2 degrees of freedom at 97.5 % is 4.302653: 2 ± 4.302653 / √3."""
    found = row("5", [1.0, 2.0, 3.0])
    assert (found.value, found.trials, found.mean, found.deviation, found.best) == ("5", 3, 2.0, 1.0, 3.0)
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    lone = row("10", [0.5])
    assert (lone.mean, lone.deviation, lone.low, lone.high) == (0.5, None, None, None)


def test_winners_are_chosen_on_one_half_and_measured_on_the_other():
    scores = {"a": np.array([[0.9, 0.1], [0.2, 0.3]]), "b": np.array([[0.8, 0.7], [0.4, 0.6]])}
    assert winners(scores, ["a", "b"]).tolist() == [0.1, 0.6]
    assert winners(scores, ["b"]).tolist() == [0.7, 0.6]
    scores["b"][0, 0] = 0.9
    assert winners(scores, ["a", "b"]).tolist() == [0.1, 0.6]  # of equals, the first


def test_halves_hold_every_example_once():
    labels = np.arange(11) % 2
    logits = np.zeros((11, 2))
    logits[np.arange(11), labels] = 1
    logits[:4] = logits[:4, ::-1]  # four of eleven are wrong
    found = halves({"run": logits}, labels, "accuracy", 50, 0)["run"]
    assert found.shape == (50, 2)
    assert found[:, 0] * 6 + found[:, 1] * 5 == pytest.approx(np.full(50, 7.0))
    assert len({tuple(pair) for pair in found.tolist()}) > 1
    assert (halves({"run": logits}, labels, "accuracy", 50, 0)["run"] == found).all()


def test_the_default_trial_is_the_one_whose_line_names_no_searched_option():
    def record(*commands):
        return SimpleNamespace(trials=[SimpleNamespace(state=FINISHED, command=command) for command in commands])

    line = "python cli.py train-student --cache c"
    assert regret._default(record(f"{line} --lr 2e-05", f"{line} --epochs 2.0", line)).command == f"{line} --epochs 2.0"
    assert regret._default(record(f"{line} --lr 2e-05", f"{line} --method kd")) is None


@pytest.fixture
def sweeps(tiny, in_directory, call):
    space = 'precision = "float32"\nepochs = 1\nlr = [1e-4, 1e-3]\nbeta = [100, 1000]\n'
    (in_directory / "space.toml").write_text(space)
    for name in ("grid", "halving"):
        words = ["--cache", tiny.arrow, "--space", "space.toml", "--strategy", name, "--out", f"sweeps/{name}"]
        assert call("sweep", *words).code == 0
    return in_directory


def test_on_real_sweeps(sweeps, call):
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
    found = call("sweep", "regret", "sweeps/grid", "--against", "sweeps/halving", "--resamples", "50")
    assert found.code == 0, found.stderr
    assert (found.json["dev_examples"], found.json["resamples"]) == (90, 50)
    assert "sweeps/halving found 4 trials complete: it compared them at no rung" in found.stderr
    # all its trials were complete: the same choice, at no cost
    assert found.json["regret"]["sweeps/halving"] == {"median": 0.0, "low": 0.0, "high": 0.0, "examples": 0.0}
    assert "train-student's defaults" not in found.json["regret"]  # lr 5e-5 is not in this grid


def test_what_is_refused(sweeps, call):
    wrong = call("sweep", "compare", "sweeps/grid", "--by", "alpha")
    assert wrong.code == 2 and wrong.error.endswith("--by alpha: the options that differ in sweeps/grid are lr, beta")
    reduced = call("sweep", "regret", "sweeps/halving")
    assert reduced.code == 2
    assert reduced.error.endswith("sweeps/halving is a sweep by halving. Name one that tried all: --strategy grid")
    Path("else").mkdir()
    with chdir("else"):
        elsewhere = call("sweep", "regret", "../sweeps/grid")
    assert elsewhere.code == 2 and "../sweeps/grid ran in another directory: its run runs/toy/" in elsewhere.error
    progress = Path("sweeps/halving/progress.json")
    progress.write_text(progress.read_text().replace("true", "false"))
    unfinished = call("sweep", "regret", "sweeps/grid", "--against", "sweeps/halving")
    assert unfinished.code == 2
    assert "sweeps/halving is not finished. Give its command again: python cli.py sweep --cache" in unfinished.error
    next(Path("runs").rglob("predictions.safetensors")).write_bytes(b"")
    lost = call("sweep", "regret", "sweeps/grid")
    assert lost.code == 2 and lost.error.endswith("Train the run again")
