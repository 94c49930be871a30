"""Sweeps from end to end: real trainings in real processes, killed, resumed, shared and damaged."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipeline.config.training import TrainStudentConfig
from stages import train_student
from tests.helpers.paths import CLI
from tests.helpers.processes import start_cli
from tests.helpers.waiting import wait_until
from tests.helpers.writers import kill

SPACE = 'method = ["kd", "pkd-skip"]\nlr = [1e-3, 5e-3]\nbeta = [1, 100]\nepochs = 3\nprecision = "float32"\n'
SIX = 6  # of the eight settings: beta has no meaning for KD


@pytest.fixture
def space(in_directory):
    path = in_directory / "space.toml"
    path.write_text(SPACE)
    return path


def words(tiny, space, *more, out="sweeps/s"):
    return ["sweep", "--cache", str(tiny.arrow), "--space", str(space), "--out", out, *more]


def started(tiny, space, *more, out="sweeps/s"):
    return start_cli(*words(tiny, space, *more, out=out))


def checkpoints():
    """Every checkpoint, with the time at which it was written."""
    found = set()
    for path in Path("runs").rglob("checkpoint.safetensors"):
        with contextlib.suppress(OSError):  # its run is complete
            found.add((path, path.stat().st_mtime_ns))
    return found


def runs():
    return {path.parent.name: json.loads(path.read_text()) for path in Path("runs").rglob("run.json")}


def steps_logged(out):
    """How often each optimizer step of a run was logged."""
    lines = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "train"]


def test_a_grid_trains_each_meaning_once_and_a_second_call_nothing(tiny, space, call):
    first = call(*words(tiny, space, "--strategy", "grid"))
    assert first.code == 0, first.stderr
    assert "sweeps/s: see how far it is with: python cli.py sweep status sweeps/s" in first.stderr
    found = first.json
    assert list(found)[:8] == ["command", "out", "trials", "finished", "pruned", "failed", "reused", "teacher_forwards"]
    assert (found["trials"], found["finished"], found["failed"], found["reused"]) == (SIX, SIX, 0, 0)
    assert found["teacher_forwards"] == 0 and found["examples_trained"] == SIX * 3 * 300
    best = max(run["result"]["metrics"]["dev"]["accuracy"] for run in runs().values())
    assert len(runs()) == SIX and found["best"]["metrics"]["dev"]["accuracy"] == best
    assert found["best"]["config"] == runs()[Path(found["best"]["out"]).name]["config"] | {
        "cache": str(tiny.arrow),
        "teacher_layers": None,
    }
    assert Path("sweeps/s/sweep.html").stat().st_size > 10_000
    again = call(*words(tiny, space, "--strategy", "grid"))
    assert (again.json["reused"], again.json["examples_trained"], again.json["best"]) == (SIX, 0, found["best"])
    beside = call(*words(tiny, space, "--strategy", "halving", out="sweeps/t"))
    assert (beside.json["reused"], beside.json["examples_trained"], beside.json["best"]) == (SIX, 0, found["best"])


def test_a_trial_is_the_run_of_its_command_line(tiny, space, call, in_directory):
    found = call(*words(tiny, space, "--strategy", "halving")).json
    assert (found["trials"], found["finished"], found["pruned"]) == (SIX, 1, SIX - 1)
    # six to 1/9, two to 2/9, one to the end, of 30 steps each
    assert found["examples_trained"] < SIX * 900 * 0.4
    status = call("sweep", "show", "sweeps/s")
    assert status.code == 0 and status.json["trials"]["pruned"] == SIX - 1 and status.json["finished"] is True
    out = Path(found["best"]["out"])
    config = {k: v for k, v in json.loads((out / "run.json").read_text())["config"].items() if v is not None}
    layers = {"teacher_layers": ",".join(map(str, config.pop("teacher_layers", ()))) or None}
    alone = TrainStudentConfig(cache=str(tiny.arrow), out="alone", **config | layers)
    result = train_student.run(alone)
    assert result.metrics == found["best"]["metrics"]
    weights = [(path / "model" / "model.safetensors").read_bytes() for path in (out, Path("alone"))]
    assert weights[0] == weights[1]


@pytest.mark.process
@pytest.mark.parametrize("strategy", ["halving", pytest.param("bayes", marks=pytest.mark.soak)])
def test_killed_and_resumed_it_ends_with_the_same_winner(tiny, space, call, trials_in_this_process, strategy):
    shorter = SPACE.replace("[1e-3, 5e-3]", "1e-3").replace("epochs = 3", "epochs = 1")
    space.write_text(f"{shorter}checkpoint_seconds = 0\nlog_every = 1")
    options = ("--strategy", strategy, "--trials", "3")
    whole = call(*words(tiny, space, *options)).json
    winner = Path(whole["best"]["out"])
    undisturbed = {name: run["result"]["metrics"] for name, run in runs().items()}
    weights = (winner / "model" / "model.safetensors").read_bytes()
    os.rename("runs", "runs-undisturbed")
    os.rename("sweeps", "sweeps-undisturbed")
    process = started(tiny, space, *options)
    assert wait_until(checkpoints, process=process)
    assert kill(process)
    ended = call(*words(tiny, space, *options))
    assert ended.code == 0, ended.stderr
    last = ended.json
    assert last["best"] == whole["best"] and last["trials"] == whole["trials"]
    assert (winner / "model" / "model.safetensors").read_bytes() == weights
    assert {name: run["result"]["metrics"] for name, run in runs().items()} == undisturbed
    for name in runs():
        steps = steps_logged(next(Path("runs").rglob(name)))
        assert steps == sorted(set(steps))


@pytest.mark.process
def test_ctrl_c_writes_checkpoints_and_says_how_to_go_on(tiny, space, call):
    space.write_text(SPACE.replace("epochs = 3", "epochs = 500"))
    process = started(tiny, space, "--strategy", "grid")
    assert wait_until(lambda: list(Path("runs").rglob("log.jsonl")), process=process)
    status = call("sweep", "status", "sweeps/s")
    assert status.json["trials"]["running"] == 1 and status.json["finished"] is False
    refused = call(*words(tiny, space, "--strategy", "grid"))
    assert (
        refused.code == 2 and f"(process {process.pid}). See how far it is: python cli.py sweep status" in refused.error
    )
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and stdout == ""
    assert stderr.splitlines()[-1] == ("Error: stopped; running trials have checkpoints. Run the same command to go on")
    (checkpoint,) = Path("runs").rglob("checkpoint.safetensors")
    assert not (checkpoint.parent / ".partial").exists() and not Path("sweeps/s/.partial").exists()
    assert call("sweep", "status", "sweeps/s").json["trials"]["running"] == 0


DIVERGES = 'method = "ft"\nprecision = "float32"\nepochs = 1\nwarmup = 0\nlr = {}\n'


def test_trials_that_diverge_are_named_and_stop_nothing(tiny, space, call):
    space.write_text(DIVERGES.format("[1e30, 2e30, 3e30, 1e-3]"))
    found = call(*words(tiny, space, "--strategy", "grid"))
    assert found.code == 0 and (found.json["finished"], found.json["failed"]) == (1, 3)
    assert [failure["parameters"]["lr"] for failure in found.json["failures"]] == [1e30, 2e30, 3e30]
    assert all("not finite at step" in failure["error"] for failure in found.json["failures"])
    assert "failed: trial 0: the loss or its gradient is not finite at step" in found.stderr
    assert "not finite at step" in Path("sweeps/s/sweep.html").read_text()
    again = call(*words(tiny, space, "--strategy", "grid"))
    assert (again.json["failed"], again.json["examples_trained"]) == (3, 0)
    retried = call(*words(tiny, space, "--strategy", "grid", "--retry-failed"))
    assert retried.code == 0 and retried.json["failed"] == 3 and retried.json["trials"] == 4
    assert retried.json["examples_trained"] > 0
    space.write_text(DIVERGES.format("1e30"))
    none = call(*words(tiny, space, "--strategy", "grid", out="sweeps/none"))
    assert none.code == 2 and none.error.endswith(
        "no trial finished, 1 failed. See why: python cli.py sweep show sweeps/none. Lower lr in --space, and name "
        "another --out"
    )


@pytest.mark.parametrize("strategy", ["grid", "bayes"])
def test_three_failures_alike_stop_a_sweep_with_more_to_try(tiny, space, call, monkeypatch, strategy):
    def failing(configs, *_):
        raise MemoryError("no room")

    monkeypatch.setattr("pipeline.training.student.advance_pack", failing)
    space.write_text(DIVERGES.format("[1e-3, 2e-3, 3e-3, 4e-3]"))
    stopped = call(*words(tiny, space, "--strategy", strategy))
    assert stopped.code == 2 and stopped.error == (
        "Error: 3 trials in a row failed for the same reason (MemoryError: no room). Fix this, then run the same "
        "command with --retry-failed"
    )
    assert call("sweep", "status", "sweeps/s").json["trials"]["failed"] == 3


def test_three_failures_alike_at_the_end_of_a_sweep_leave_the_others(tiny, space, call, monkeypatch):
    from pipeline.training import student

    advance_pack = student.advance_pack

    def failing(configs, *more):
        if configs[0].lr > 1e-3:
            raise MemoryError("no room")
        return advance_pack(configs, *more)

    monkeypatch.setattr(student, "advance_pack", failing)
    space.write_text(DIVERGES.format("[1e-3, 2e-3, 3e-3, 4e-3]"))
    found = call(*words(tiny, space, "--strategy", "grid"))
    assert found.code == 0 and (found.json["finished"], found.json["failed"]) == (1, 3)


def grid_whose_first_process_gets(number, tiny, space):
    """The result of a sweep whose training process is sent a signal in its first trial."""
    process = started(tiny, space, "--strategy", "grid")
    assert wait_until(lambda: list(Path("runs").rglob("log.jsonl")), process=process)
    (lease,) = Path("runs").rglob("lease.json")
    os.kill(json.loads(lease.read_text())["pid"], number)
    stdout, _ = process.communicate(timeout=200)
    return json.loads(stdout.splitlines()[-1])


@pytest.mark.process
def test_a_process_that_is_killed_takes_its_trial_with_it_and_no_other(tiny, space, call):
    space.write_text(SPACE.replace("epochs = 3", "epochs = 10").replace("[1e-3, 5e-3]", "1e-3"))
    found = grid_whose_first_process_gets(signal.SIGKILL, tiny, space)
    assert (found["finished"], found["failed"]) == (2, 1)
    shown = call("sweep", "show", "sweeps/s")
    assert "its process was ended by signal 9 (SIGKILL) (out of memory?)" in shown.stdout


@pytest.mark.process
@pytest.mark.soak
def test_a_trial_whose_process_is_asked_to_stop_goes_on(tiny, space):
    """SIGTERM to the process alone, as from a system that is about to take the node away."""
    space.write_text(SPACE.replace("epochs = 3", "epochs = 5\nlog_every = 1"))
    found = grid_whose_first_process_gets(signal.SIGTERM, tiny, space)
    assert (found["finished"], found["failed"], found["examples_trained"]) == (SIX, 0, SIX * 1500)
    assert all(steps_logged(out.parent) == list(range(1, 51)) for out in Path("runs").rglob("run.json"))


@pytest.mark.process
def test_two_sweeps_at_once_train_no_trial_twice(tiny, space):
    """In directories of their own, over the same runs."""
    space.write_text(SPACE.replace("lr = [1e-3, 5e-3]", "lr = 1e-3") + "log_every = 1\n")
    options = ("--strategy", "grid")
    alone = [sys.executable, CLI, *words(tiny, space, *options, out="sweeps/a")]
    both = [  # what the resource tracker writes is in the stderr of a program of its own
        subprocess.Popen(alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
        started(tiny, space, *options, out="sweeps/b"),
    ]
    said = [process.communicate(timeout=250) for process in both]
    assert "resource_tracker" not in said[0][1]
    ended = [json.loads(stdout.splitlines()[-1]) for stdout, _ in said]
    assert [found["finished"] for found in ended] == [3, 3]
    assert sum(found["examples_trained"] for found in ended) == 3 * 900
    assert ended[0]["best"] == ended[1]["best"]
    for name in runs():
        assert steps_logged(next(Path("runs").rglob(name))) == list(range(1, 31))


def test_a_dry_run_trains_nothing(tiny, space, call):
    found = call(*words(tiny, space, "--strategy", "grid", "--dry-run"))
    assert found.json["trials"] == SIX and found.json["examples"] == SIX * 900 and found.json["seconds"] > 0
    # a row: logits 8, example id, hash, label and offsets 48, tokens; [CLS] of one layer of 32 float32 for four of six
    assert found.json["bytes_read"] > SIX * 900 * 56 + 4 * 900 * 128
    assert "6 trials, 0 of them complete; at most 5,400 examples to train on: about " in found.stdout
    assert not Path("runs").exists() and not Path("sweeps").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--strategy", "random"], "'random' is not one of 'grid', 'staged', 'halving', 'bayes'."),
        (["--trials", "0"], "--trials must be 1 or more, not 0. Try --trials 30"),
        (["--dry-run", "--pack", "many"], "--pack takes a number from 1, or auto, not many. Try --pack auto"),
        (["--out", "file"], "file exists and is not a sweep directory. Choose another --out"),
    ],
)
def test_wrong_options_are_refused(tiny, space, call, options, error):
    Path("file").write_text("mine")
    found = call(*words(tiny, space, *options))
    assert found.code == 2 and found.error.endswith(error)
    assert Path("file").read_text() == "mine"


def test_directory_of_another_sweep_or_of_none_is_refused(tiny, space, call):
    assert call(*words(tiny, space, "--strategy", "grid")).code == 0
    other = call(*words(tiny, space, "--strategy", "staged"))
    assert (
        other.code == 2 and "sweeps/s holds another sweep (" in other.error and "strategy: grid ≠ staged" in other.error
    )
    for command in ("status", "show"):
        found = call("sweep", command, "runs")
        assert found.code == 2 and found.error.endswith(
            "runs is not a sweep directory (no sweep.json). Pass the --out directory of a sweep"
        )
    Path("sweeps/s/sweep.json").write_text("[]")
    assert "sweeps/s/sweep.json is damaged (list indices must be integers" in call("sweep", "show", "sweeps/s").error


def test_a_range_needs_bayes_and_bayes_stays_in_it(tiny, space, call):
    space.write_text('epochs = 1\nprecision = "float32"\nlr = {low = 1e-4, high = 1e-2, log = true}\n')
    refused = call(*words(tiny, space, "--strategy", "grid"))
    assert refused.error.endswith("--strategy grid tries every value, and lr is a range. Use --strategy bayes")
    found = call(*words(tiny, space, "--strategy", "bayes", "--trials", "3"))
    assert found.code == 0 and found.json["trials"] == 3
    assert 1e-4 <= found.json["best"]["config"]["lr"] <= 1e-2


def test_packed_trials_are_the_trials_alone(tiny, space, call):
    """In float32, without dropout; a pack holds what reads the same batches."""
    space.write_text(SPACE.replace("lr = [1e-3, 5e-3]", "lr = [1e-3, 5e-3]\nbatch_size = [32, 16]"))
    cache = ["--cache", str(tiny.no_dropout), "--space", str(space), "--strategy", "halving"]
    alone = call("sweep", *cache, "--out", "sweeps/alone").json
    os.rename("runs", "runs-alone")
    packed = call("sweep", *cache, "--out", "sweeps/packed", "--pack", "4").json
    assert packed["trials"] == alone["trials"] == 2 * SIX and packed["examples_trained"] == alone["examples_trained"]
    assert packed["best"] == alone["best"]
    for path in Path("runs").rglob("model.safetensors"):
        theirs = load_file("runs-alone" / path.relative_to("runs"))
        for name, weights in load_file(path).items():
            if not name.endswith("key.bias"):  # which softmax does not see
                np.testing.assert_allclose(weights, theirs[name], rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.soak
def test_auto_pack_measures_and_names_its_choice(tiny, space, call):
    found = call(*words(tiny, space, "--strategy", "grid", "--pack", "auto"))
    assert found.code == 0 and found.json["finished"] == SIX
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("--pack auto: ")]
    assert re.fullmatch(
        r"--pack auto: [1248] \(a step of a student in packs of 1: \d+ ms, 2: \d+ ms, 4: \d+ ms, 8: \d+ ms\)", line
    )
    for asked in ("0", "many", "1.5"):
        refused = call(*words(tiny, space, "--pack", asked))
        assert refused.code == 2
        assert refused.error.endswith(f"--pack takes a number from 1, or auto, not {asked}. Try --pack auto")


def test_alternatives_are_tried_with_the_options_before_them(tiny, space, call):
    space.write_text(
        'precision = "float32"\nmax_steps = 1\nseed = [0, 1]\n[[either]]\nmethod = "ft"\n[[either]]\nmethod = "kd"\n'
        'temperature = [5, 10]\n[[either]]\nmethod = "pkd-skip"\nbeta = 10\n'
    )
    found = call(*words(tiny, space, "--strategy", "grid"))
    assert found.code == 0 and found.json["finished"] == 8, found.stderr
    by = call("sweep", "compare", "sweeps/s", "--by", "method,temperature").json["by"]
    assert [(row["value"], row["trials"]) for row in by["method"]] == [("ft", 2), ("kd", 4), ("pkd-skip", 2)]
    assert [(row["value"], row["trials"]) for row in by["temperature"]] == [("–", 2), ("5", 4), ("10", 2)]
    proposed = call(*words(tiny, space, "--strategy", "bayes", out="sweeps/t"))
    assert proposed.code == 2 and "not from [[either]]. Use another --strategy" in proposed.error
