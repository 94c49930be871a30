"""What a search does with what it finds: pruned, failed, interrupted and half-born trials, dead processes, and runs
that somebody else has trained."""

import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import torch
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState

from pipeline.config.sweep import SweepConfig
from pipeline.config.training import TrainStudentConfig
from pipeline.errors import BadOption, BadRun
from pipeline.training.training_state import Evaluation, PausedTraining
from stages.sweep.execution import worker
from stages.sweep.execution.local import local_engine
from stages.sweep.execution.worker import FAILED, Job
from stages.sweep.search import packing
from stages.sweep.search.bayes import bayes
from stages.sweep.search.space import Space
from stages.sweep.search.study import JOURNAL, Study, categories
from stages.sweep.search.trials import Trials

SPACE = 'method = "kd"\nprecision = "float32"\nmax_steps = 9\nlr = [1e-3, 2e-3, 5e-3]\n'


def sweep(call, tiny, strategy, out, *more, space=SPACE):
    Path("space.toml").write_text(space)
    words = ["--cache", str(tiny.arrow), "--space", "space.toml", "--strategy", strategy, "--out", out, *more]
    found = call("sweep", *words)
    assert found.code == 0, found.stderr
    return found.json


def test_a_halving_is_repeated_after_a_grid_has_completed_what_it_dropped(tiny, call, in_directory):
    first = sweep(call, tiny, "halving", "h")
    assert (first["finished"], first["pruned"]) == (1, 2)
    assert sweep(call, tiny, "grid", "g")["finished"] == 3
    again = sweep(call, tiny, "halving", "h")
    assert (again["finished"], again["pruned"], again["best"]) == (1, 2, first["best"])


def test_a_failure_behind_a_rung_leaves_the_choice_at_that_rung_as_it_was(tiny, call, in_directory):
    first = sweep(call, tiny, "halving", "h")
    study = Study(Path("h"), write=True)
    (winner,) = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    journal = Path("h") / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    told = [n for n, line in enumerate(lines) if json.loads(line).get("state") == TrialState.COMPLETE.value]
    lines[told[-1]] = json.dumps({**json.loads(lines[told[-1]]), "state": TrialState.FAIL.value, "values": None}) + "\n"
    journal.write_text("".join(lines))
    trained = len(study.trials())
    again = call("sweep", "--cache", tiny.arrow, "--space", "space.toml", "--strategy", "halving", "--out", "h")
    assert again.code == 2 and "no trial finished, 1 failed." in again.error
    trials = Study(Path("h"), write=False).trials()
    assert len(trials) == trained and trials[winner.number].state == TrialState.FAIL and first["finished"] == 1


def test_what_somebody_else_trained_further_is_judged_before_the_rung(tmp_path):
    lines = [{"kind": "eval", "step": step, "metrics": {"accuracy": step / 100}} for step in (20, 40, 80)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = TrainStudentConfig(cache="c", out=str(tmp_path))
    further = PausedTraining(80, 90, Evaluation(80, 2.0, {"accuracy": 0.8}))

    def score(until):
        return worker._at(further, config, until).evaluation.score

    assert [score(until) for until in (40, 50, 79, 80)] == [0.4, 0.4, 0.4, 0.8]
    assert score(10) == 0.2  # nothing before: the first one after it
    assert worker._at(further, config, None) is further


def study_in(directory):
    directory.mkdir(exist_ok=True)
    return Study(directory, write=True)


def test_bayes_goes_on_with_its_own_pruner_and_without_half_born_trials(tiny, tmp_path):
    space = Space({"cache": str(tiny.arrow), "method": "kd"}, {"lr": (1e-3, 2e-3, 5e-3)})
    study = study_in(tmp_path / "s")
    begun = next(bayes(study, Trials(SweepConfig()), space, 2, 0, 1)).trials
    study.study.ask({"lr": optuna.distributions.CategoricalDistribution((1e-3, 2e-3, 5e-3))})  # killed before its key
    study = study_in(tmp_path / "s")
    wave = next(bayes(study, Trials(SweepConfig()), space, 2, 0, 1))
    assert [trial.key for trial in wave.trials] == [trial.key for trial in begun]
    assert isinstance(study.study.pruner, SuccessiveHalvingPruner)
    assert [trial.state for trial in study.trials()] == [TrialState.RUNNING, TrialState.FAIL]
    study.end(begun[0].key, FAILED, error="x")
    study = study_in(tmp_path / "s")
    wave = next(bayes(study, Trials(SweepConfig()), space, 1, 0, 1, retry_failed=True))
    assert [trial.key for trial in wave.trials] == [trial.key for trial in begun]


def test_a_proposal_that_does_not_fit_is_left_out(tiny, call, in_directory):
    space = 'method = ["kd", "pkd-skip"]\nstudent_layers = [2, 1]\nmax_steps = 9\nprecision = "float32"\n'
    found = sweep(call, tiny, "bayes", "b", "--trials", "3", space=space)
    assert 1 <= found["trials"] <= 3 and found["failed"] == 0


def test_looking_at_a_sweep_writes_nothing(tiny, call, in_directory):
    sweep(call, tiny, "grid", "g")
    journal = Path("g") / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"half')  # a full disk, or a power cut
    for command in ("status", "show", "compare"):
        assert call("sweep", command, "g").code == 0
    assert journal.read_bytes() == whole + b'{"half'
    assert sweep(call, tiny, "grid", "g")["reused"] == 3
    (removed,) = list(Path("runs").rglob("kd-2-*"))[:1]
    shutil.rmtree(removed)
    again = sweep(call, tiny, "grid", "g")
    assert (again["finished"], again["reused"]) == (3, 2) and (removed / "run.json").is_file()
    whole = journal.read_bytes()
    (Path("g") / "progress.json").write_text('{"seconds": 1, "finished": true, "live": {"a": {"step": "x"}}}')
    assert call("sweep", "status", "g").code == 0
    journal.write_bytes(b"nonsense\n" + whole)
    for words in (
        ["status", "g"],
        ["--cache", tiny.arrow, "--space", "space.toml", "--strategy", "grid", "--out", "g"],
    ):
        damaged = call("sweep", *words)
        assert damaged.code == 2 and "is damaged" in damaged.error and damaged.error.endswith("in another --out")
    journal.unlink()
    assert call("sweep", "status", "g").error.endswith("g: its search has not begun yet. Try again in a moment")
    (Path("g") / "sweep.json").write_text(json.dumps({"strategy": "g", "metric": "m", "command": "c", "caches": []}))
    assert "sweep.json is damaged" in call("sweep", "status", "g").error


def test_a_process_that_dies_before_its_first_job(tiny, in_directory):
    config = TrainStudentConfig(cache=str(tiny.arrow), method="kd", max_steps=1, precision="float32", out="run")
    job = Job(("key",), (config,), None, "dev")
    with local_engine(1) as engine:
        (worker,) = engine.workers
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.join()
        engine.submit(job)
        events = []
        while not events:
            events = engine.events(0.5)
        assert [(event.kind, event.cause) for event in events] == [(FAILED, "process ended by signal 9 (SIGKILL)")]
        assert engine.events(0.1) == []
        engine.submit(job)  # to a new one
        while not (ended := [event for event in engine.events(0.5) if isinstance(event, worker.Outcome)]):
            pass
        assert ended[0].kind == worker.DONE


def test_students_of_other_checkpoints_are_not_packed(tiny):
    trials = Trials(SweepConfig())
    of = [
        trials.of({"cache": str(tiny.arrow), "method": "kd", "init": init}) for init in ("teacher", str(tiny.encoder))
    ]
    assert of[0].batches != of[1].batches
    assert of[0].batches == trials.of({"cache": str(tiny.arrow), "method": "kd", "lr": 1.0}).batches


def test_auto_takes_what_memory_holds(monkeypatch):
    def measured(cache, config, sizes):
        if 4 in sizes:
            raise torch.OutOfMemoryError("out of memory")
        return {size: 1.0 / size for size in sizes}

    trial = SimpleNamespace(config=SimpleNamespace(cache="c"))
    monkeypatch.setattr(packing, "measure_pack", measured)
    assert packing.packed("auto", trial, SimpleNamespace(cache=lambda location: None)) == 2

    def nothing(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(packing, "measure_pack", nothing)
    with pytest.raises(BadOption, match="not even one student fits into this GPU's memory"):
        packing.packed("auto", trial, SimpleNamespace(cache=lambda location: None))


def test_options_that_have_no_meaning_for_some_are_no_category():
    of = categories([{"method": "kd", "beta": None}, {"method": "pkd-skip", "beta": 1.0}], ("kd",))
    assert {name: one.choices for name, one in of.items()} == {"method": ("kd", "pkd-skip"), "beta": (1.0,)}


def test_a_sweep_that_was_taken_over_stops(tmp_path):
    from stages.sweep.search.directory import SweepDirectory

    directory = SweepDirectory(tmp_path / "s")
    with (
        pytest.raises(Exception, match="was taken over by another process while this one was silent"),
        directory.claimed({}),
    ):
        lease = directory.lease.path
        lease.write_text(json.dumps(json.loads(lease.read_text()) | {"token": "another"}))
        directory.write_progress(1.0, {})
    assert lease.is_file()  # the other's


def test_begun_without_its_study(tmp_path):
    with pytest.raises(BadRun, match="its search has not begun yet"):
        Study(tmp_path, write=False)
