"""Memory of a process, and a command that fails."""

import subprocess
import sys

import pytest

from stages.benchmarks.harness import process_memory
from tests.helpers.paths import ROOT


@pytest.mark.process
def test_memory_grows_with_the_process_and_the_peak_stays():
    grow = (
        "import os, numpy as np; from stages.benchmarks.harness.process_memory import PRIVATE, RESIDENT, kilobytes\n"
        "def read(): return np.array([kilobytes(os.getpid(), quantity) for quantity in (PRIVATE, RESIDENT)])\n"
        "before = read(); kept = np.ones(50_000_000, np.uint8); grown = read(); del kept\n"
        "print(*grown - before, *read() - before)"
    )
    printed = subprocess.run([sys.executable, "-c", grow], cwd=ROOT, capture_output=True, check=True).stdout
    private, resident, private_after, resident_after = map(int, printed.split())
    assert 45_000 < private < 75_000 and private_after < 25_000
    assert 45_000 < resident < 75_000 and resident_after > resident - 1000  # the system counts in steps
    assert process_memory.kilobytes(2**22 + 1, process_memory.PRIVATE) == 0


@pytest.mark.process
def test_failed_training_raises_with_its_output(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)^train-student failed: .*nothing"):
        process_memory.peak_of_training(str(tmp_path / "nothing"), tmp_path / "run", tmp_path / "store", 32, 1)
