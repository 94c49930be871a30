"""A run's directory: a disk that refuses, and checkpoints that nobody needs any more."""

import resource
import signal
from contextlib import contextmanager

import pytest
import torch

from pipeline.errors import BadRun
from pipeline.system.lease import directory_lease
from pipeline.training.run_directory import RunDirectory, forget_checkpoint
from pipeline.training.run_reader import CHECKPOINT, checkpoint_step


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
