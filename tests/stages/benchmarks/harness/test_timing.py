"""Contenders in real processes; medians, spreads and what holds."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler

import psutil
import pytest

from pipeline.errors import BadOption, DamagedFile, Interrupted, ProcessEnded
from stages.benchmarks.harness.measurements import Ratio, Series, ratio
from stages.benchmarks.harness.timing import Contender, Measured, Pace, interleave
from tests.helpers.waiting import wait_until


def counting(path: str, name: str, seconds: float) -> Callable[[int], Measured]:
    """Writes down each turn that it has: its name and how much it was asked to do."""

    def train(work: int) -> Measured:
        with open(path, "a") as file:
            file.write(f"{name} {work} {os.getpid()}\n")
        return {name: (work * 10, work * seconds)}

    return train


def refusing(_: object = None) -> Callable[[int], Measured]:
    raise BadOption("this cannot be meant")


def failing() -> Callable[[int], Measured]:
    return lambda work: {"a": (1, 1 // (work - 1))}


def dying() -> Callable[[int], Measured]:
    return lambda _: os._exit(3)


def refusing_a_file() -> Callable[[int], Measured]:
    raise DamagedFile("train/00000.arrow", "too short", "data/rte")


def killed() -> Callable[[int], Measured]:
    return lambda _: os.kill(os.getpid(), signal.SIGKILL)


def busy(path: str) -> Callable[[int], Measured]:
    """A turn writes down its process and never ends by itself."""

    def turn(_: int) -> Measured:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(3600)
        return {}

    return turn


def interrupted() -> Callable[[int], Measured]:
    os.kill(os.getpid(), signal.SIGINT)
    return lambda turn: {"turn": (turn, 1.0)}


@pytest.mark.process
def test_contenders_get_one_turn_per_round_and_work_for_their_seconds(tmp_path):
    turns = str(tmp_path / "turns")
    contenders = {name: Contender(counting, turns, name, seconds) for name, seconds in (("a", 0.5), ("b", 5.0))}
    found = interleave(contenders, Pace(rounds=3, seconds=2.0), "test")
    lines = [line.split() for line in (tmp_path / "turns").read_text().splitlines()]
    assert [(name, int(work)) for name, work, _ in lines] == [("a", 1), ("b", 1)] + [("a", 4), ("b", 1)] * 3
    processes = {name: {pid for of, _, pid in lines if of == name} for name in "ab"}
    assert all(len(pids) == 1 for pids in processes.values()) and processes["a"] != processes["b"]
    assert found["a"].values == (20.0,) * 3 and found["b"].values == (2.0,) * 3


def test_ratio_is_taken_round_by_round():
    a, b = Series("a", "ex/s", (10.0, 12.0, 30.0)), Series("b", "ex/s", (5.0, 4.0, 10.0))
    quotient = ratio("a / b", a, b, at_least=2.5)
    assert quotient.values == (2.0, 3.0, 3.0)
    assert (quotient.median, quotient.low, quotient.high, quotient.holds) == (3.0, 2.0, 3.0, True)


@pytest.mark.parametrize(
    ("asked", "holds"),
    [({}, None), ({"at_least": 2}, True), ({"at_least": 2.1}, False), ({"at_most": 2}, True), ({"at_most": 1}, False)],
)
def test_limit_is_compared_with_the_median(asked, holds):
    assert Ratio("r", values=(1.0, 2.0, 9.0), **asked).holds is holds


@pytest.mark.process
def test_error_of_a_contender_is_raised_by_interleave():
    with pytest.raises(BadOption, match=r"^this cannot be meant$"):
        interleave({"a": Contender(refusing)}, Pace(1, 1), "test")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        interleave({"a": Contender(failing)}, Pace(1, 1), "test")


TAIL = "Run it again; if it was killed for memory, try --model demo or --quick"


@pytest.mark.process
@pytest.mark.parametrize(("build", "how"), [(dying, "ended with exit code 3"), (killed, "was killed (SIGKILL)")])
def test_dead_contender_is_a_one_line_error(build, how):
    with pytest.raises(ProcessEnded) as caught:
        interleave({"a": Contender(build)}, Pace(1, 1), "test")
    assert str(caught.value) == f"a process of the benchmark {how}. {TAIL}"
    assert caught.value.exit_code == 2


@pytest.mark.process
@pytest.mark.parametrize("build", [refusing, refusing_a_file])
def test_error_before_the_first_turn_is_raised_at_the_turn(build):
    with Contender(build) as contender:
        contender._process.join(timeout=60)
        assert not contender._process.is_alive()
        with pytest.raises((BadOption, DamagedFile)) as caught:
            contender(1)
    assert str(caught.value) in ("this cannot be meant", str(DamagedFile("train/00000.arrow", "too short", "data/rte")))


@pytest.mark.parametrize(
    "error", [BadOption("no"), DamagedFile("file", "bad", "data/rte"), Interrupted("stopped", signal.SIGTERM)]
)
def test_errors_survive_pickling(error):
    found = ForkingPickler.loads(ForkingPickler.dumps(error))
    assert type(found) is type(error) and str(found) == str(error)
    assert vars(found) == vars(error) and found.exit_code == error.exit_code


@pytest.mark.process
def test_contender_in_its_turn_is_killed_without_waiting(tmp_path, monkeypatch):
    started = tmp_path / "started"
    with pytest.raises(KeyError), ThreadPoolExecutor(1) as pool, Contender(busy, str(started)) as contender:
        turn = pool.submit(contender, 1)
        wait_until(lambda: started.exists() and started.read_text())
        monkeypatch.setattr(contender._process, "join", lambda timeout=None, join=contender._process.join: join())
        raise KeyError
    assert not psutil.pid_exists(int(started.read_text()))
    assert isinstance(turn.exception(), ProcessEnded)


@pytest.mark.process
def test_ctrl_c_reaches_only_the_parent():
    with Contender(interrupted) as contender:
        assert contender(7) == {"turn": (7, 1.0)}
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
