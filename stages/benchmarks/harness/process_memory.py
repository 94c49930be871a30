"""Peak memory of a command of the program, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE_SECONDS = 0.05
PROGRAM = Path(__file__).parents[3] / "cli.py"
PRIVATE = "RssAnon"  # memory that no file backs
RESIDENT = "VmHWM"  # the most memory so far, pages of mapped files included


def peak_of_training(cache: str, out: Path, store: Path, batch_size: int, steps: int) -> float:
    """Return the peak private memory of `train-student` in MB.

    Raises RuntimeError if the command fails.
    """
    words = ["train-student", "--cache", cache, "--method", "pkd-skip", "--student-layers", "2"]
    words += ["--batch-size", str(batch_size), "--max-steps", str(steps), "--select", "last", "--out", str(out)]
    return peak_of(words, PRIVATE, out.with_suffix(".txt"), store)


def peak_of(words: list[str], quantity: str, log: Path, store: Path) -> float:
    """Return the peak memory of the program with these arguments in MB, sampled every 50 ms; its output is in `log`.

    `quantity` is `PRIVATE` or `RESIDENT`, `store` the user's store. Raises RuntimeError if the command fails.
    """
    with _running(words, log, {**os.environ, "PKD_STORE": str(store)}) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, kilobytes(process.pid, quantity))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{words[0]} failed: {log.read_text()[-500:]}")
    return peak / 1000


@contextmanager
def _running(words: list[str], log: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the program with these arguments, its output in `log`; kill it if the block ends early."""
    with log.open("wb") as lines:
        process = subprocess.Popen([sys.executable, str(PROGRAM), *words], stdout=lines, stderr=lines, env=environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def kilobytes(process: int, quantity: str) -> int:
    """Return the kB of a process's memory, `PRIVATE` or `RESIDENT`; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 // 1000 for line in lines if line.startswith(f"{quantity}:")), 0)
