"""Real signals to real commands: one line, the exit code, and nothing left of processes and temporary directories."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.cache.open import open_cache
from stages import cache_teacher
from tests.helpers.paths import CLI, ROOT
from tests.helpers.waiting import wait_until
from tests.helpers.writers import config, descendants, recorded, start, unchanged

READER = """
import sys, cli
from stages.benchmarks.harness.timing import Report
from stages.benchmarks import reader
reader.QUICK_ROWS = 2000
reader._warm = reader._cold = reader._opening = lambda *_: Report((), ())  # the memory part alone
cli.main(sys.argv[1:])
"""
AGAIN = "Run the same command to start again"
GO_ON = "Run the same command to go on: what is finished is kept"


def begin(place: Path, *words: str) -> subprocess.Popen:
    """Python with these words, in a process group of its own, with `place` as its directory for all it writes."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=place,
        env=os.environ | {"TMPDIR": str(place), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen, number: signal.Signals, to_all: bool = False) -> str:
    """What it said on stderr after the signal (to its whole group, as from a terminal), when none of it is left."""
    children = descendants(process)
    if to_all:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (128 + number, "")
    assert not psutil.wait_procs(children, timeout=60)[1]
    assert "Traceback" not in stderr and "KeyboardInterrupt" not in stderr
    return stderr.splitlines()[-1]


def running(process: subprocess.Popen, word: str) -> int:
    """How many of its processes have this in their command line."""
    found = 0
    time.sleep(0.05)
    for child in descendants(process):
        with contextlib.suppress(psutil.Error):  # it has ended
            found += any(word in part for part in child.cmdline())
    return found


@pytest.mark.process
def test_startup_ended_in_the_middle(tmp_path):
    process = begin(tmp_path, CLI, "benchmark", "startup")
    assert wait_until(lambda: running(process, "--help"), process=process)
    assert ended(process, signal.SIGTERM) == f"Error: stopped by SIGTERM. {AGAIN}"
    assert list(tmp_path.glob("pkd-benchmark-*")) == [] == list(tmp_path.glob("results"))


@pytest.mark.process
@pytest.mark.parametrize(
    ("number", "to_all", "line"),
    [
        pytest.param(signal.SIGTERM, False, f"Error: stopped by SIGTERM. {AGAIN}", marks=pytest.mark.soak),
        pytest.param(signal.SIGINT, False, f"Error: stopped. {AGAIN}", marks=pytest.mark.soak),
        pytest.param(signal.SIGINT, True, f"Error: stopped. {AGAIN}", marks=pytest.mark.soak),
    ],
    ids=["terminated", "interrupted", "Ctrl-C"],
)
def test_contenders_that_are_still_importing(tmp_path, number, to_all, line):
    process = begin(tmp_path, CLI, "benchmark", "train", "--quick", "--model", "demo")
    assert wait_until(lambda: running(process, "spawn_main") == 3, process=process)
    assert list(tmp_path.glob("pkd-benchmark-*/cache/manifest.json"))
    assert ended(process, number, to_all) == line
    assert list(tmp_path.glob("pkd-benchmark-*")) == [] == list(tmp_path.glob("results"))


@pytest.mark.soak
@pytest.mark.process
def test_a_cache_that_a_contender_writes(tmp_path):
    process = begin(tmp_path, CLI, "benchmark", "cache", "--quick", "--model", "demo")
    assert wait_until(lambda: list(tmp_path.glob("pkd-benchmark-*/**/cache")), process=process)
    assert ended(process, signal.SIGTERM) == f"Error: stopped by SIGTERM. {AGAIN}"
    assert list(tmp_path.glob("pkd-benchmark-*")) == [] == list(tmp_path.glob("results"))


@pytest.mark.soak
@pytest.mark.process
def test_the_student_whose_memory_is_measured(tmp_path):
    process = begin(tmp_path, "-c", READER, "benchmark", "reader", "--quick", "--model", "demo")
    assert wait_until(lambda: running(process, "train-student"), process=process)
    assert ended(process, signal.SIGTERM) == f"Error: stopped by SIGTERM. {AGAIN}"
    assert list(tmp_path.glob("pkd-benchmark-*")) == [] == list(tmp_path.glob("results"))


@pytest.mark.soak
@pytest.mark.process
def test_two_workers_of_cache_teacher(tiny, tmp_path):
    out = tmp_path / "cache"
    process = start(tiny, out, workers=2)
    assert wait_until(lambda: len(recorded(out)) >= 5, process=process)
    assert ended(process, signal.SIGTERM) == f"Error: stopped by SIGTERM. {GO_ON}"
    finished = recorded(out)
    cache_teacher.run(config(tiny, out))
    assert len(finished) >= 5 and unchanged(out, finished)
    assert {name: len(split) for name, split in open_cache(out).splits.items()} == {"train": 300, "dev": 90, "test": 40}


@pytest.mark.parametrize(
    ("words", "stage", "advice"),
    [
        ("train-student --cache c", "train_student", "Run the same command with --resume to go on"),
        ("finetune-teacher --task t --model m", "finetune_teacher", "Run the same command with --resume to go on"),
        ("cache-teacher --task t", "cache_teacher", GO_ON),
        ("sweep", "sweep.run", GO_ON),
        ("quickstart", "quickstart", GO_ON),
        ("cache pull u c", "cache.pull", GO_ON),
        ("evaluate r", "evaluate", AGAIN),
        ("cache verify c", "cache.verify", AGAIN),
    ],
)
def test_ctrl_c_says_what_is_true_for_the_command(call, monkeypatch, words, stage, advice):
    before = signal.getsignal(signal.SIGTERM)  # Ray leaves one of its own

    def interrupted(_):
        assert signal.getsignal(signal.SIGTERM) is not before
        raise KeyboardInterrupt

    monkeypatch.setattr(f"stages.{stage}.run", interrupted)
    result = call(*words.split())
    assert (result.code, result.stderr) == (130, f"Error: stopped. {advice}\n")
    assert signal.getsignal(signal.SIGTERM) is before
