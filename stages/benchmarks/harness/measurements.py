"""Series of measurements, one number per round, and the ratios and differences of two of them."""

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Series:
    """One number per round."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """Return the smallest value of a round."""
        return min(self.values)

    @property
    def high(self) -> float:
        """Return the largest value of a round."""
        return max(self.values)


@dataclass(frozen=True)
class Ratio(Series):
    """One quotient or difference per round, and its limits; a `goal` may be missed, with an explanation."""

    unit: str = "×"
    values: tuple[float, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    goal: bool = False

    @property
    def holds(self) -> bool | None:
        """Return whether the median is within the limits; None if there are none."""
        if self.at_least is None and self.at_most is None:
            return None
        enough = self.at_least is None or self.median >= self.at_least
        return enough and (self.at_most is None or self.median <= self.at_most)


def ratio(name: str, a: Series, b: Series, **limits: Any) -> Ratio:
    """Return a / b, round by round."""
    return Ratio(name, values=tuple(x / y for x, y in zip(a.values, b.values, strict=True)), **limits)


def difference(name: str, a: Series, b: Series, **limits: Any) -> Ratio:
    """Return a − b, round by round, in their unit."""
    return Ratio(name, a.unit, tuple(x - y for x, y in zip(a.values, b.values, strict=True)), **limits)
