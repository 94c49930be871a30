"""A run's directory: a disk that refuses, and checkpoints that nobody needs any more."""

import json
import resource
import signal
from contextlib import contextmanager

import pytest
import torch

from pipeline.errors import BadRun, BusyRun
from pipeline.system.lease import directory_lease
from pipeline.training.run_directory import RunDirectory, forget_checkpoint
from pipeline.training.run_reader import CHECKPOINT, STARTED, checkpoint_step
from pipeline.training.student import StudentResult


def checkpoint(path, step):
    path.mkdir(exist_ok=True)
    RunDirectory(path, "train-student", {}, {}).save_checkpoint({"w": torch.zeros(50_000)}, {"step": step})


@contextmanager
def no_file_larger_than(size):
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, earlier[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_refuses_in_the_middle_of_a_checkpoint(tmp_path):
    path = tmp_path / "run"
    checkpoint(path, 5)
    with (
        no_file_larger_than(65536),
        pytest.raises(BadRun, match=r"cannot be written \(.+\). Make room, then add --resume"),
    ):
        checkpoint(path, 6)
    assert checkpoint_step(path) == 5 and [file.name for file in path.iterdir()] == [CHECKPOINT]


def test_a_checkpoint_is_forgotten_unless_somebody_needs_it(tmp_path):
    path = tmp_path / "run"
    checkpoint(path, 5)
    forget_checkpoint(path, 4)  # somebody else has brought it further
    assert checkpoint_step(path) == 5
    lease = directory_lease(path)
    assert lease.acquire() is None
    forget_checkpoint(path, 5)  # it is being trained
    assert checkpoint_step(path) == 5
    lease.release()
    forget_checkpoint(path, 5)
    assert list(path.iterdir()) == []
    forget_checkpoint(path, 5)
    forget_checkpoint(tmp_path / "nothing", 5)
    assert not (tmp_path / "nothing").exists()


class OneProcess:
    is_main_process = True

    def wait_for_everyone(self):
        pass


def crash(path, config, after=None):
    """A run that fails in its first step, or after `after`."""
    run = RunDirectory(path, "train-student", config, {})
    assert run.finished(StudentResult) is None
    with pytest.raises(IndexError), run.claimed(OneProcess(), resume=False):
        if after:
            after(run)
        raise IndexError
    return run


def test_a_run_that_failed_in_its_first_step_keeps_no_other_from_its_directory(tmp_path):
    path = tmp_path / "run"
    for config in ({"lr": 1}, {"lr": 2}, {"lr": 2}):  # without --resume
        crash(path, config)
        assert [file.name for file in path.iterdir()] == [STARTED]
        assert json.loads((path / STARTED).read_text())["config"] == config
    crash(path, {"lr": 3}, lambda run: run.log([{"step": 1}]))
    with pytest.raises(BadRun, match="holds another run \\(lr: 3 ≠ 4\\)"):
        RunDirectory(path, "train-student", {"lr": 4}, {}).finished(StudentResult)
    same = RunDirectory(path, "train-student", {"lr": 3}, {})
    with pytest.raises(BadRun, match=r"holds this run, unfinished\. Add --resume"), same.claimed(OneProcess(), False):
        pass
    with same.claimed(OneProcess(), resume=True):
        other = RunDirectory(path, "train-student", {"lr": 3}, {})
        with pytest.raises(BusyRun, match="is being trained by"), other.claimed(OneProcess(), resume=True):
            pass
