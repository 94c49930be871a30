"""The directory of a sweep: read while damaged, taken over, and never written by those who only look at it."""

import json
import shutil
from pathlib import Path

import pytest

from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.study import JOURNAL
from tests.helpers.sweeps import run_sweep


def test_reading_a_sweep_writes_nothing_and_names_what_is_damaged(tiny, call, in_directory):
    run_sweep(call, tiny, "grid", "g")
    journal = Path("g") / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"half')  # a full disk, or a power cut
    for command in ("status", "show", "compare"):
        assert call("sweep", command, "g").code == 0
    assert journal.read_bytes() == whole + b'{"half'
    assert run_sweep(call, tiny, "grid", "g")["reused"] == 3
    (removed,) = list(Path("runs").rglob("kd-2-*"))[:1]
    shutil.rmtree(removed)
    again = run_sweep(call, tiny, "grid", "g")
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
    assert call("sweep", "status", "g").error.endswith("g: its search has not started yet. Try again in a moment")
    (Path("g") / "sweep.json").write_text(json.dumps({"strategy": "g", "metric": "m", "command": "c", "caches": []}))
    assert "sweep.json is damaged" in call("sweep", "status", "g").error


def test_a_sweep_that_was_taken_over_stops(tmp_path):
    directory = SweepDirectory(tmp_path / "s")
    with (
        pytest.raises(Exception, match="was taken over by another process while this one was silent"),
        directory.claimed({}),
    ):
        lease = directory.lease.path
        lease.write_text(json.dumps(json.loads(lease.read_text()) | {"token": "another"}))
        directory.write_progress(1.0, {})
    assert lease.is_file()  # the other's
