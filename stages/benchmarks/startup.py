"""Benchmark `startup`: seconds until the command line answers, against a Python that does nothing."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.system.progress import bar
from stages.benchmarks.harness.measurements import Series, difference
from stages.benchmarks.harness.timing import Report

ROOT = Path(__file__).parents[2]
NOTHING = "python -c pass"
COMMANDS = {  # name -> arguments of Python, expected exit code
    NOTHING: (("-c", "pass"), 0),
    "cli.py --help": (("cli.py", "--help"), 0),
    "cli.py train-student --help": (("cli.py", "train-student", "--help"), 0),
    "a wrong option": (("cli.py", "train-student", "--cache", "x", "--lr=-1"), 2),
}
AT_MOST = 0.3  # seconds more than Python itself


def measure(config: BenchmarkConfig) -> Report:
    """Time each command; the limit is on its seconds beyond those of Python itself."""
    seconds = times_of(COMMANDS, min(2, config.rounds) if config.quick else config.rounds)
    series = [Series(name, "s", tuple(taken)) for name, taken in seconds.items()]
    nothing, *ours = series
    return Report(
        tuple(series),
        tuple(
            difference(f"{command.name}, more than {NOTHING}", command, nothing, at_most=AT_MOST) for command in ours
        ),
        ("seconds of a process from its start to its end, files in the page cache",),
    )


def times_of(commands: Mapping[str, tuple[tuple[str, ...], int]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each command per round; a first, uncounted round reads the files into memory."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with bar(len(commands) * (rounds + 1), "benchmark startup", "command") as progress:
        for number in range(rounds + 1):
            for name, (arguments, expected) in commands.items():
                taken = seconds_of(arguments, expected)
                if number > 0:
                    seconds[name].append(taken)
                progress.update()
    return seconds


def seconds_of(arguments: tuple[str, ...], expected: int) -> float:
    """Return the seconds that Python took with these arguments, in the project's root.

    Raises RuntimeError for another exit code.
    """
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != expected:
        raise RuntimeError(f"{' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr[-500:]}")
    return seconds
