"""Contenders in real processes; medians, spreads and what holds."""

import os
from collections.abc import Callable

import pytest

from pipeline.errors import BadOption
from pipeline.timing import Contender, Measured, Pace, Ratio, Series, interleave, ratio


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


def test_every_contender_has_one_turn_a_round_and_work_for_its_seconds(tmp_path):
    turns = str(tmp_path / "turns")
    contenders = {name: Contender(counting, turns, name, seconds) for name, seconds in (("a", 0.5), ("b", 5.0))}
    found = interleave(contenders, Pace(rounds=3, seconds=2.0), "test")
    lines = [line.split() for line in (tmp_path / "turns").read_text().splitlines()]
    assert [(name, int(work)) for name, work, _ in lines] == [("a", 1), ("b", 1)] + [("a", 4), ("b", 1)] * 3
    processes = {name: {pid for of, _, pid in lines if of == name} for name in "ab"}
    assert all(len(pids) == 1 for pids in processes.values()) and processes["a"] != processes["b"]
    assert found["a"].values == (20.0,) * 3 and found["b"].values == (2.0,) * 3


def test_a_ratio_is_taken_round_by_round():
    a, b = Series("a", "ex/s", (10.0, 12.0, 30.0)), Series("b", "ex/s", (5.0, 4.0, 10.0))
    quotient = ratio("a / b", a, b, at_least=2.5)
    assert quotient.values == (2.0, 3.0, 3.0)
    assert (quotient.median, quotient.low, quotient.high, quotient.holds) == (3.0, 2.0, 3.0, True)


@pytest.mark.parametrize(
    ("asked", "holds"),
    [({}, None), ({"at_least": 2}, True), ({"at_least": 2.1}, False), ({"at_most": 2}, True), ({"at_most": 1}, False)],
)
def test_what_is_asked_holds_for_the_median(asked, holds):
    assert Ratio("r", values=(1.0, 2.0, 9.0), **asked).holds is holds


def test_what_goes_wrong_in_a_contender_is_told():
    with pytest.raises(BadOption, match=r"^this cannot be meant$"):
        interleave({"a": Contender(refusing)}, Pace(1, 1), "test")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        interleave({"a": Contender(failing)}, Pace(1, 1), "test")
    with pytest.raises(RuntimeError, match="exit code 3"):
        interleave({"a": Contender(dying)}, Pace(1, 1), "test")
