import math
from dataclasses import replace

import pytest

from stages.sweep.report.leaderboard import (
    duration_text,
    failures,
    leaders,
    running,
    score_text,
    summary,
    value_text,
)
from stages.sweep.search.record import FAILED, FINISHED, PAUSED, PRUNED, RUNNING, WAITING, SweepRecord, TrialRecord

CACHES = {"data/rte": "3f2a"}
SKIP = {"method": "pkd-skip", "lr": 2e-5, "beta": 100.0}
PLAIN = {"method": "ft", "lr": 0.0001, "beta": None}


def trial(number, state, parameters=SKIP, **known):
    command = f"python cli.py train-student --out runs/{number}"
    return TrialRecord(number, state, parameters, parameters["method"], command, f"runs/{number}", **known)


def sweep(*trials, **known):
    record = SweepRecord("rte", "python cli.py sweep", "grid", "accuracy", CACHES, trials, 8, False, 3723.0)
    return replace(record, **known)


SEVERAL = sweep(
    trial(0, PRUNED, score=0.9, steps=30, total=120, examples=960),
    trial(1, FINISHED, PLAIN, score=0.81254, steps=120, total=120, examples=3840),
    trial(2, FINISHED, score=0.82, steps=1200, total=1200, reused=True),
    trial(3, FAILED, error="BadCache: data/rte\n  is gone"),
    trial(4, PAUSED, PLAIN, score=0.5, steps=60, total=120, examples=1920),
    trial(5, RUNNING, score=0.7, steps=60, total=120, examples=1920, rate=32.0, curve=((30, 0.6), (60, 0.71))),
    trial(6, PRUNED, score=0.95, steps=30, total=120, examples=960),
)


def test_leaders():
    assert leaders(SEVERAL) == (
        "rank  trial   score  method        lr  beta  state     steps\n"
        "   1      2  82.00%  pkd-skip   2e-05   100  finished  1,200/1,200\n"
        "   2      1  81.25%  ft        0.0001     –  finished  120/120\n"
        "   3      4  50.00%  ft        0.0001     –  paused    60/120\n"
        "   4      6  95.00%  pkd-skip   2e-05   100  pruned    30/120\n"
        "   5      0  90.00%  pkd-skip   2e-05   100  pruned    30/120"
    )
    assert leaders(SEVERAL, 2).splitlines() == leaders(SEVERAL).splitlines()[:3]
    assert leaders(sweep(trial(0, RUNNING))) == "No trial has ended yet."


def test_trials_without_a_score_come_last_among_their_equals():
    lines = leaders(
        sweep(
            trial(0, FINISHED, score=math.nan, steps=5),
            trial(1, FINISHED, steps=5),
            trial(2, FINISHED, score=-0.2, steps=5),
            trial(3, FINISHED, score=-0.2, steps=5),
        )
    ).splitlines()
    assert [line.split()[1:3] for line in lines[1:]] == [["2", "-0.2"], ["3", "-0.2"], ["0", "nan"], ["1", "–"]]


def test_a_parameter_that_only_later_trials_have_has_a_column():
    lines = leaders(sweep(trial(0, FINISHED, {"method": "kd"}), trial(1, FINISHED, {"method": "kd", "seed": 3})))
    assert lines.splitlines() == [
        "rank  trial  score  method  seed  state     steps",
        "   1      0      –  kd         –  finished      0",
        "   2      1      –  kd         3  finished      0",
    ]


def test_running():
    bare = trial(7, RUNNING, PLAIN)
    assert running(replace(SEVERAL, trials=(*SEVERAL.trials, bare))) == [
        "trial 5: method pkd-skip, lr 2e-05, beta 100; accuracy 71.00%; 32.0 examples/s; ETA 1 min 00 s",
        "trial 7: method ft, lr 0.0001; accuracy –; – examples/s; ETA –",
    ]


@pytest.mark.parametrize("missing", ["steps", "total", "examples", "rate"])
def test_no_eta_without_all_that_it_comes_from(missing):
    (line,) = running(sweep(replace(SEVERAL.trials[5], **{missing: 0})))
    assert line.endswith("; ETA –")


def test_summary():
    assert summary(SEVERAL) == (
        "8 planned, 2 finished, 2 pruned, 1 failed, 1 running, 1 paused, 1 waiting, 1 reused, "
        "9,600 examples trained, 1 h 02 min"
    )
    assert summary(sweep(trial(0, WAITING), planned=0, seconds=4.4)) == (
        "– planned, 0 finished, 0 pruned, 0 failed, 0 running, 1 waiting, 0 reused, 0 examples trained, 4 s"
    )
    assert ", 0 waiting, " in summary(replace(SEVERAL, finished=True))


def test_failures():
    assert failures(sweep(*SEVERAL.trials, trial(7, FAILED))) == [
        "trial 3: BadCache: data/rte is gone",
        "trial 7: no message",
    ]


def test_nothing_that_a_terminal_obeys_is_printed():
    hostile = {"method": "\x1b[2J", "\x1b[1m": "\x1b[31m"}
    record = sweep(trial(0, FINISHED, hostile), trial(1, RUNNING, hostile), trial(2, FAILED, hostile, error="\x1b[H"))
    assert "\x1b" not in leaders(record) + "".join(running(record) + failures(record))


def test_values_and_scores_and_times():
    values = [None, 5e-5, 0.70000001, 100.0, 12345, True, [2, 4, 6], (1,), "auto"]
    assert list(map(value_text, values)) == ["–", "5e-05", "0.7", "100", "12345", "True", "2,4,6", "1", "auto"]
    assert list(map(score_text, [None, 0, 1, 0.81254, 1.25, -0.123456])) == [
        *("–", "0.00%", "100.00%", "81.25%", "1.25", "-0.1235"),
    ]
    assert list(map(duration_text, [0.4, 59.6, 185, 3600])) == ["0 s", "1 min 00 s", "3 min 05 s", "1 h 00 min"]
