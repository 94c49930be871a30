"""Searches that are repeated after trials were completed, or failed, elsewhere."""

import json
from pathlib import Path

from optuna.trial import TrialState

from stages.sweep.search.study import JOURNAL, Study
from tests.helpers.sweeps import run_sweep


def test_a_halving_is_repeated_after_a_grid_has_completed_what_it_pruned(tiny, call, in_directory):
    first = run_sweep(call, tiny, "halving", "h")
    assert (first["finished"], first["pruned"]) == (1, 2)
    assert run_sweep(call, tiny, "grid", "g")["finished"] == 3
    again = run_sweep(call, tiny, "halving", "h")
    assert (again["finished"], again["pruned"], again["best"]) == (1, 2, first["best"])


def test_a_failure_after_a_rung_leaves_the_choice_at_that_rung_as_it_was(tiny, call, in_directory):
    first = run_sweep(call, tiny, "halving", "h")
    study = Study(Path("h"), write=True)
    (winner,) = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    journal = Path("h") / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    ended = [n for n, line in enumerate(lines) if json.loads(line).get("state") == TrialState.COMPLETE.value]
    lines[ended[-1]] = (
        json.dumps({**json.loads(lines[ended[-1]]), "state": TrialState.FAIL.value, "values": None}) + "\n"
    )
    journal.write_text("".join(lines))
    trained = len(study.trials())
    again = call("sweep", "--cache", tiny.arrow, "--space", "space.toml", "--strategy", "halving", "--out", "h")
    assert again.code == 2 and "no trial finished, 1 failed." in again.error
    trials = Study(Path("h"), write=False).trials()
    assert len(trials) == trained and trials[winner.number].state == TrialState.FAIL and first["finished"] == 1
