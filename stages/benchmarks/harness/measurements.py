"""What a benchmark measures: one number per round, and the ratio of two of them."""

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Series:
    """One number a round."""

    what: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass(frozen=True)
class Ratio(Series):
    """One quotient or difference a round, and what it should be; `goal`: it may be missed, with an explanation."""

    unit: str = "×"
    values: tuple[float, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    goal: bool = False

    @property
    def holds(self) -> bool | None:
        """Of the median; None where nothing is asked for."""
        if self.at_least is None and self.at_most is None:
            return None
        enough = self.at_least is None or self.median >= self.at_least
        return enough and (self.at_most is None or self.median <= self.at_most)


def ratio(what: str, a: Series, b: Series, **asked: Any) -> Ratio:
    """A / b, round by round."""
    return Ratio(what, values=tuple(x / y for x, y in zip(a.values, b.values, strict=True)), **asked)


def difference(what: str, a: Series, b: Series, **asked: Any) -> Ratio:
    """A − b, round by round, in their unit."""
    return Ratio(what, a.unit, tuple(x - y for x, y in zip(a.values, b.values, strict=True)), **asked)
