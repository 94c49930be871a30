"""How long the command line takes to answer, against a Python that does nothing."""

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
COMMANDS = {  # what is typed -> arguments of Python, and the exit code that is expected
    NOTHING: (("-c", "pass"), 0),
    "cli.py --help": (("cli.py", "--help"), 0),
    "cli.py train-student --help": (("cli.py", "train-student", "--help"), 0),
    "a wrong option": (("cli.py", "train-student", "--cache", "x", "--lr=-1"), 2),
}
AT_MOST = 0.3  # seconds more than Python itself


def measure(config: BenchmarkConfig) -> Report:
    seconds = times_of(COMMANDS, min(2, config.rounds) if config.quick else config.rounds)
    series = [Series(what, "s", tuple(taken)) for what, taken in seconds.items()]
    nothing, *ours = series
    return Report(
        tuple(series),
        tuple(difference(f"{one.what}, more than {NOTHING}", one, nothing, at_most=AT_MOST) for one in ours),
        ("seconds of a process from its start to its end, files in the page cache",),
    )


def times_of(commands: Mapping[str, tuple[tuple[str, ...], int]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each command in each round; a first round, which is not counted, brings the files into memory."""
    seconds: dict[str, list[float]] = {what: [] for what in commands}
    with bar(len(commands) * (rounds + 1), "benchmark startup", "command") as progress:
        for number in range(rounds + 1):
            for what, (arguments, expected) in commands.items():
                taken = seconds_of(arguments, expected)
                if number > 0:
                    seconds[what].append(taken)
                progress.update()
    return seconds


def seconds_of(arguments: tuple[str, ...], expected: int) -> float:
    """Of Python with these arguments in the root of the project. Raises RuntimeError for another exit code."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != expected:
        raise RuntimeError(f"{' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr[-500:]}")
    return seconds
