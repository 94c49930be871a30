"""Growth with the amount of work: a measurement at each of several sizes, and the straight line through them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stages.benchmarks.harness.measurements import Series

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")),
    "parameters": ((1e6, "million"), (1e3, "thousand"), (1.0, "parameters")),
}


@dataclass(frozen=True)
class Line:
    """One series for each amount of work, of which at least two are `straight_from` or more.

    `work` names one unit of the work, such as "example"; `unit` is "s", "bytes" or "parameters".
    """

    name: str
    unit: str
    work: str
    points: tuple[tuple[float, Series], ...]
    straight_from: float = 0  # smaller amounts of work are not part of the fit

    @cached_property
    def fit(self) -> tuple[float, float]:
        """Return intercept and slope by least squares through the medians."""
        x, y = self._straight()
        slope, intercept = np.polyfit(x, y, 1)
        return float(intercept), float(slope)

    @property
    def deviation(self) -> float:
        """Return the largest distance of a median from the line, as a share of the median."""
        x, y = self._straight()
        intercept, slope = self.fit
        return float(np.max(np.abs(y - intercept - slope * x) / np.abs(y)))

    @property
    def r_squared(self) -> float:
        """Return the share of the medians' variance that the line explains; 1 for equal medians."""
        x, y = self._straight()
        intercept, slope = self.fit
        spread = float(np.sum((y - y.mean()) ** 2))
        return 1 - float(np.sum((y - intercept - slope * x) ** 2)) / spread if spread else 1.0

    def _straight(self) -> tuple[np.ndarray, np.ndarray]:
        """Return amounts of work and medians of the points that the fit uses, float64 each."""
        straight = [(x, series.median) for x, series in self.points if x >= self.straight_from]
        x, y = np.array(straight, np.float64).T
        return x, y

    def sentence(self) -> str:
        """Return the line in words, for below the table."""
        intercept, slope = self.fit
        start = f", from {self.straight_from:g} on" if self.straight_from else ""
        sign, article = "−" if slope < 0 else "+", "an" if self.work[0] in "aeiou" else "a"
        formula = f"{_amount(intercept, self.unit)} {sign} {_amount(abs(slope), self.unit)} {article} {self.work}"
        return f"{self.name}: {formula}{start}; largest deviation {100 * self.deviation:.1f} %"

    def as_json(self) -> dict[str, Any]:
        """Return points as [work, median], and the line, to five digits."""
        intercept, slope = self.fit
        fit = {"intercept": intercept, "slope": slope, "largest_deviation": self.deviation, "r_squared": self.r_squared}
        return {
            "unit": self.unit,
            "against": f"{self.work}s",
            "points": [[x, _digits(series.median)] for x, series in self.points],
            "straight_from": self.straight_from,
        } | {name: _digits(value) for name, value in fit.items()}


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _amount(value: float, unit: str) -> str:
    """Return seconds, bytes or parameters as text of three digits and a unit."""
    scales, value = _SCALES[unit], float(f"{value:.3g}")
    factor, name = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
    digits = len(str(int(abs(value / factor))))
    return f"{value / factor:.{max(0, 3 - digits)}f} {name}".replace("-", "−")
