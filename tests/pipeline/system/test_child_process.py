"""Real processes: a child whose parent is killed ends too."""

import os
import subprocess
import sys
import time

import psutil
import pytest
import torch

from pipeline.system import child_process
from tests.helpers.paths import ROOT

PARENT = """
import multiprocessing, os, time
from pipeline.system.child_process import end_with_parent

def child():
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
"""


@pytest.mark.process
def test_child_ends_with_killed_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "the child lives on"
        time.sleep(0.02)


@pytest.mark.parametrize(("gpus", "selected"), [(0, []), (1, [0, 0, 0]), (2, [0, 1, 0])])
def test_gpus_are_given_out_in_turn(monkeypatch, gpus, selected):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert [child_process.select_gpu(index) for index in range(3)] == [gpus > 0] * 3
    assert chosen == selected
