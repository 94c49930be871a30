"""Timing that is robust on a noisy machine: each contender has its own process, and they take turns in every round.

A ratio compares two contenders within one round, and is reported as the median of the rounds with the smallest and
the largest.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from pipeline.errors import DistillError, ProcessEnded
from pipeline.system.progress import bar
from stages.benchmarks.harness.lines import Line
from stages.benchmarks.harness.measurements import Ratio, Series

Measured = Mapping[str, tuple[float, float]]  # name -> (work done, seconds)


@dataclass(frozen=True)
class Report:
    """Results of one benchmark; `notes` are sentences for below the table.

    `lines` and `records` (JSON values by key) are only for the results file, `text` has tables to print in place of the
    one with a row for every series and ratio.
    """

    series: tuple[Series, ...]
    ratios: tuple[Ratio, ...]
    notes: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    text: str = ""
    records: Mapping[str, Any] = field(default_factory=dict)


class Contender:
    """A process that calls `build(*arguments)` once, and the returned function with an amount of work in each round.

    It runs while the with-block is open. `build` is a function of a module, which the process imports. Errors of the
    process are raised here.
    """

    def __init__(self, build: Callable[..., Callable[[int], Measured]], *arguments: Any):
        self._build, self._arguments = build, arguments

    def __enter__(self) -> "Contender":
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        try:
            with _signals_held():
                self._process.start()
            theirs.close()
            with suppress(OSError):  # it has ended already: its first turn raises
                self._connection.send((self._build, self._arguments))
        except BaseException as error:
            if self._process.pid is not None:
                self.__exit__(type(error))
            raise
        return self

    def __call__(self, work: int) -> Measured:
        """Run one turn with this amount of work and return what it measured.

        Raises the contender's own `DistillError`, `ProcessEnded` if it died, and RuntimeError for everything else.
        """
        with suppress(OSError):  # it has ended: what it sent before is still to be read
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
    """Return how a process ended, in words, from its exit code."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    return f"was killed ({signal.Signals(-code).name})"


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the block is left; a process that is started in it ignores them."""
    resource_tracker.ensure_running()  # starting it would let them through
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(connection: Connection) -> None:
    """Run the contender in its process; silently, so that its progress bars do not mix with the benchmark's."""
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
    """Duration of a measurement: rounds, and the seconds that each contender gets per round."""

    rounds: int
    seconds: float


def interleave(contenders: Mapping[str, Contender], pace: Pace, description: str) -> dict[str, Series]:
    """Return the rate of everything that the contenders time, in work per second, one number per round.

    A first round, which is not counted, warms them up and shows how much work fills a contender's seconds.
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
                    for timed, (done, seconds) in measured.items():
                        rates.setdefault(timed, []).append(done / seconds)
                progress.update()
    return {timed: Series(timed, "", tuple(values)) for timed, values in rates.items()}
