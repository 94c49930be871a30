"""How long the command line takes to answer, against a Python that does nothing."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.timing import Contender, Measured, Pace, Report, Series, difference, interleave
from stages.configs import BenchmarkConfig

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
    contenders = {"commands": Contender(commands)}
    found = interleave(contenders, Pace(config.rounds if config.quick else 2 * config.rounds, 0.0), "benchmark startup")
    series = [Series(what, "s", tuple(1 / rate for rate in found[what].values)) for what in COMMANDS]
    nothing, *ours = series
    return Report(
        tuple(series),
        tuple(difference(f"{one.what}, more than {NOTHING}", one, nothing, at_most=AT_MOST) for one in ours),
        ("seconds of a process from its start to its end, files in the page cache",),
    )


def commands() -> Callable[[int], Measured]:
    """All commands, one after the other, each a process of its own."""

    def run(times: int) -> Measured:
        seconds = dict.fromkeys(COMMANDS, 0.0)
        for _ in range(times):
            for what, (arguments, expected) in COMMANDS.items():
                seconds[what] += seconds_of(arguments, expected)
        return {what: (times, taken) for what, taken in seconds.items()}

    return run


def seconds_of(arguments: tuple[str, ...], expected: int) -> float:
    """Of Python with these arguments in the root of the project. Raises RuntimeError for another exit code."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != expected:
        raise RuntimeError(f"{' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr[-500:]}")
    return seconds
