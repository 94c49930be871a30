"""Timing that a noisy machine cannot turn: every contender in a process of its own, a round of each in turn.

A ratio is taken between neighbours of the same round, and told as the median of the rounds with the smallest and the
largest.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from pipeline.errors import DistillError, ProcessEnded
from pipeline.system.progress import bar
from stages.benchmarks.harness.lines import Line
from stages.benchmarks.harness.measurements import Ratio, Series

Measured = Mapping[str, tuple[float, float]]  # what was timed -> (work done, seconds)


@dataclass(frozen=True)
class Report:
    """What one benchmark found. `notes` are sentences for below the table, `lines` are for the results file alone."""

    series: tuple[Series, ...]
    ratios: tuple[Ratio, ...]
    notes: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()


class Contender:
    """A process, while the with-block is open: it calls `build(*arguments)` once, and what that returned, with an
    amount of work, each round.

    `build` is a function of a module: the process imports it anew. What goes wrong there is raised here.
    """

    def __init__(self, build: Callable[..., Callable[[int], Measured]], *arguments: Any):
        self._build, self._arguments = build, arguments

    def __enter__(self) -> "Contender":
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        try:
            with _signals_held():
                self._process.start()
            other.close()
            with suppress(OSError):  # it has ended already: its first turn tells
                self._connection.send((self._build, self._arguments))
        except BaseException as error:
            if self._process.pid is not None:
                self.__exit__(type(error))
            raise
        return self

    def __call__(self, work: int) -> Measured:
        """Raises the contender's own `DistillError`, `ProcessEnded`, and RuntimeError for everything else."""
        with suppress(OSError):  # it has ended: what it said before is still to be read
            self._connection.send(work)
        try:
            result = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise ProcessEnded(
                f"a process of the benchmark {_end(self._process.exitcode)}. Run it again; if it was killed for "
                "memory, try --model demo or --quick"
            ) from error
        if isinstance(result, DistillError):
            raise result
        if isinstance(result, str):
            raise RuntimeError(f"a contender failed: {result}")
        return dict(result)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # it may be in the middle of its turn
            self._process.kill()
            self._process.join()
        self._connection.close()
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()


def _end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    return f"was killed ({signal.Signals(-code).name})"


@contextmanager
def _signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM come when the block is left. A process that is started in it does not hear them."""
    resource_tracker.ensure_running()  # starting it would let them through
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(connection: Connection) -> None:
    """The contender's process: silent, so that its own bars do not run through the benchmark's."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # Ctrl-C is for the parent, which ends this one
    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        build, arguments = connection.recv()
        train = build(*arguments)  # while the others build theirs
        while True:
            connection.send(train(connection.recv()))
    except EOFError:
        return
    except DistillError as error:
        connection.send(error)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Pace:
    """How long to measure: rounds, and the seconds that a contender is given in each."""

    rounds: int
    seconds: float


def interleave(contenders: Mapping[str, Contender], pace: Pace, description: str) -> dict[str, Series]:
    """The rate of everything that the contenders time, one number a round, in work a second.

    A first round, which is not counted, warms them up and tells how much work fills a contender's seconds.
    """
    rates: dict[str, list[float]] = {}
    work: dict[str, int] = {}
    with ExitStack() as stack, bar(len(contenders) * (pace.rounds + 1), description, "turn") as progress:
        for contender in contenders.values():
            stack.enter_context(contender)
        for number in range(pace.rounds + 1):
            for name, contender in contenders.items():
                measured = contender(work.get(name, 1))
                if number == 0:
                    taken = sum(seconds for _, seconds in measured.values())
                    work[name] = max(1, int(pace.seconds / taken))
                else:
                    for what, (done, seconds) in measured.items():
                        rates.setdefault(what, []).append(done / seconds)
                progress.update()
    return {what: Series(what, "", tuple(values)) for what, values in rates.items()}
