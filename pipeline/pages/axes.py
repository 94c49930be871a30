"""The parts that all figures have in common: style, axes, ticks, and labels that fit."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeGuard

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from pipeline.pages.svg import GRID, INK
from pipeline.system.formatting import printable

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.formatter.limits": (-6, 9),
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.xmargin": 0.08,
    "figure.constrained_layout.use": True,
    "figure.figsize": (4.6, 3.0),  # inches: small, so that its words can be read when a phone shows it whole
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "path.simplify": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sweep",
    "text.parse_math": False,  # a value between dollar signs is not a formula
    "xtick.color": INK,
    "ytick.color": INK,
}


def new_axes(x: str, y: str) -> tuple[Figure, Axes]:
    """Return a new figure and its axes, with labels."""
    figure = Figure()
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    return figure, axes


def set_value_axis(axes: Axes, values: Sequence[float]) -> None:
    """Set the scale of the x axis: logarithmic if rising `values` span a decade or are as small as learning rates.

    Ticks are at the values if they are far enough apart.
    """
    low, high = values[0], values[-1]
    if low > 0 and (high >= 10 * low or (high < 0.01 and high >= 2 * low)):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        relative = [math.log(value / low) for value in values]
    else:
        relative = [value - low for value in values]
    if len(values) == 1 or min(b - a for a, b in pairwise(relative)) > 0.11 * relative[-1]:
        axes.set_xticks(values)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value can be drawn on an axis of numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def shorten(text: str, length: int) -> str:
    """Return a printable text of at most `length` letters."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def count_text(value: float, _: float) -> str:
    """Format a count for a tick of an axis, as matplotlib calls it."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if abs(value) >= 1e4 else f"{value:g}"
