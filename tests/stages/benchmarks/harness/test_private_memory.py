"""Private memory of a process, and a training that fails."""

import subprocess
import sys

import pytest

from stages.benchmarks.harness import private_memory
from tests.helpers.paths import ROOT


@pytest.mark.process
def test_private_kilobytes_grow_with_the_process():
    grow = (
        "import os, numpy as np; from stages.benchmarks.harness.private_memory import private_kilobytes\n"
        "before = private_kilobytes(os.getpid()); kept = np.ones(50_000_000, np.uint8)\n"
        "print(private_kilobytes(os.getpid()) - before)"
    )
    grown = int(subprocess.run([sys.executable, "-c", grow], cwd=ROOT, capture_output=True, check=True).stdout)
    assert 45_000 < grown < 75_000
    assert private_memory.private_kilobytes(2**22 + 1) == 0


@pytest.mark.process
def test_failed_training_raises_with_its_output(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)^train-student failed: .*nothing"):
        private_memory.peak_of_training(str(tmp_path / "nothing"), tmp_path / "run", tmp_path / "store", 32, 1)
