"""A training that is advanced in pieces, and one that another process is at."""

import json
import os

import numpy as np
import pytest

from pipeline.config.training import TrainStudentConfig
from pipeline.data.metrics import measure
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.errors import BadOption, BadRun, BusyRun
from pipeline.training.run_reader import read_predictions
from pipeline.training.student import advance
from pipeline.training.training_state import PausedTraining
from stages import train_student
from tests.helpers.processes import start_cli
from tests.helpers.waiting import wait_until

SHORT = dict(max_steps=12, eval_every=6, precision="float32", log_every=1, lr=1e-3)


def config(tiny, out, **options):
    return TrainStudentConfig(cache=str(tiny.arrow), out=str(out), **(SHORT | options))


def files(out):
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "run.json"}
    log = [json.loads(line) for line in found.pop("log.jsonl").splitlines()]
    return found, [line for line in log if line["kind"] != "rung"]


def test_in_pieces_it_ends_with_the_same_bytes(tiny, tmp_path):
    train_student.run(config(tiny, tmp_path / "whole"))
    seen = []
    for until in (4, 6, 9):
        paused = advance(config(tiny, tmp_path / "pieces", resume=True), until, seen.append)
        assert isinstance(paused, PausedTraining) and (paused.step, paused.total) == (until, 12)
        assert not (tmp_path / "pieces" / "run.json").exists() and not (tmp_path / "pieces" / ".partial").exists()
    train_student.run(config(tiny, tmp_path / "pieces", resume=True))
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")
    assert [progress.step for progress in seen] == list(range(1, 10))
    assert [progress.examples for progress in seen] == [
        32,
        64,
        96,
        108,
        32,
        64,
        32,
        64,
        96,
    ]  # the fourth batch is the small one
    rungs = [json.loads(line) for line in (tmp_path / "pieces" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in rungs if line["kind"] == "rung"] == [4, 9]  # at 6 there was an evaluation


def test_a_rung_is_no_evaluation_that_counts(tiny, tmp_path):
    """Early stopping and the choice of weights see what they would have seen."""
    options = dict(early_stop=1, eval_every=3, lr=1e-9)
    whole = train_student.run(config(tiny, tmp_path / "whole", **options))
    for until in (1, 2, 4, 5):
        advance(config(tiny, tmp_path / "pieces", resume=True, **options), until)
    pieces = train_student.run(config(tiny, tmp_path / "pieces", resume=True, **options))
    assert pieces.metrics == whole.metrics
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "pieces")]
    assert records[0]["steps"] == records[1]["steps"] == 6 and records[0]["best"] == records[1]["best"]


def test_without_a_dev_split_it_cannot_pause(tiny, tmp_path):
    from pipeline.config.training import CacheTeacherConfig
    from stages import cache_teacher

    rows = {name: value for name, value in tiny.rows.items() if name not in ("dev_file", "test_file")}
    cache_teacher.run(CacheTeacherConfig(**rows, teacher=str(tiny.teacher), cache=str(tmp_path / "cache")))
    lone = TrainStudentConfig(cache=str(tmp_path / "cache"), out=str(tmp_path / "run"), select="last", **SHORT)
    with pytest.raises(BadOption, match="a training without a labelled dev split cannot be compared on the way"):
        advance(lone, 4)


def test_predictions_are_those_that_were_measured(tiny, tmp_path):
    result = train_student.run(config(tiny, tmp_path / "run"))
    from pipeline.cache.open import open_cache

    logits = read_predictions(tmp_path / "run")
    assert {name: array.dtype for name, array in logits.items()} == {"dev": np.float32}
    assert (
        measure(SINGLE_LABEL, SINGLE_LABEL.metrics(2), logits["dev"], open_cache(tiny.arrow).splits["dev"].labels)
        == result.metrics["dev"]
    )


@pytest.mark.process
def test_two_trainings_of_one_run(tiny, tmp_path):
    out = tmp_path / "run"
    words = ["--cache", str(tiny.arrow), "--out", str(out), "--epochs", "500", "--checkpoint-seconds", "0"]
    process = start_cli("train-student", *words)
    assert wait_until((out / "checkpoint.safetensors").exists, process=process)
    with pytest.raises(BusyRun) as caught:
        train_student.run(TrainStudentConfig(cache=str(tiny.arrow), out=str(out), epochs=500.0, resume=True))
    assert str(caught.value).startswith(f"{out} is being trained by ")
    assert str(caught.value).endswith(f" (process {process.pid}). Wait for it, or choose another --out")
    process.kill()
    process.communicate()
    assert (out / ".partial").is_dir()  # what the dead one left is in nobody's way
    advance(TrainStudentConfig(cache=str(tiny.arrow), out=str(out), epochs=500.0, resume=True), 1)
    assert sorted(os.listdir(out)) == ["checkpoint.safetensors", "log.jsonl", "started.json"]


def test_a_run_that_was_taken_over_writes_nothing_more(tiny, tmp_path):
    """As after a sleep of this machine: another process holds the lease when the training wakes up."""
    out = tmp_path / "run"
    lease = out / ".partial" / "lease.json"

    def take_over(progress):
        lease.write_text(json.dumps(json.loads(lease.read_text()) | {"token": "another"}))

    with pytest.raises(BusyRun) as caught:
        advance(config(tiny, out), 4, take_over)
    assert str(caught.value) == (
        f"{out} was taken over by another process while this one was silent. Wait for it, or choose another --out"
    )
    assert lease.is_file() and not (out / "checkpoint.safetensors").exists()


def test_what_a_process_left_that_was_killed_at_its_first_write_is_in_nobodys_way(tiny, tmp_path):
    out = tmp_path / "run"
    (out / ".partial").mkdir(parents=True)
    (out / ".started.json.0123abcd.tmp").write_text('{"comm')
    train_student.run(config(tiny, out))
    assert sorted(os.listdir(out)) == ["log.jsonl", "model", "predictions.safetensors", "run.json"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(BadRun, match=r"other exists and is not a run\. Choose another --out$"):
        train_student.run(config(tiny, tmp_path / "other"))
