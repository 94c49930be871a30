"""`sweep regret`: the loss of a cheaper search against a grid."""

from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.task_metrics import TaskMetrics
from stages.sweep import regret
from stages.sweep.regret import halves, winners
from stages.sweep.search.record import FINISHED


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
    metrics = TaskMetrics(SINGLE_LABEL, ("accuracy",), ("no", "yes"))
    found = halves(metrics, {"run": logits}, labels, 50, 0)["run"]
    assert found.shape == (50, 2)
    assert found[:, 0] * 6 + found[:, 1] * 5 == pytest.approx(np.full(50, 7.0))
    assert len({tuple(pair) for pair in found.tolist()}) > 1
    assert (halves(metrics, {"run": logits}, labels, 50, 0)["run"] == found).all()


def test_the_default_trial_is_the_one_whose_line_names_no_searched_option():
    def record(*commands):
        return SimpleNamespace(trials=[SimpleNamespace(state=FINISHED, command=command) for command in commands])

    line = "python cli.py train-student --cache c"
    assert regret._default(record(f"{line} --lr 2e-05", f"{line} --epochs 2.0", line)).command == f"{line} --epochs 2.0"
    assert regret._default(record(f"{line} --lr 2e-05", f"{line} --method kd")) is None


def test_regret_of_a_search_that_found_every_trial_complete_is_zero(sweeps, call):
    found = call("sweep", "regret", "sweeps/grid", "--against", "sweeps/halving", "--resamples", "50")
    assert found.code == 0, found.stderr
    assert (found.json["dev_examples"], found.json["resamples"]) == (90, 50)
    assert "sweeps/halving found 4 trials complete: it did not compare them at rungs" in found.stderr
    # all its trials were complete: the same choice, at no cost
    assert found.json["regret"]["sweeps/halving"] == {"median": 0.0, "low": 0.0, "high": 0.0, "examples": 0.0}
    assert "train-student's defaults" not in found.json["regret"]  # lr 5e-5 is not in this grid


def test_regret_refuses_sweeps_that_cannot_be_compared(sweeps, call):
    reduced = call("sweep", "regret", "sweeps/halving")
    assert reduced.code == 2
    assert reduced.error.endswith("sweeps/halving is a sweep by halving. Pass one with --strategy grid")
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
