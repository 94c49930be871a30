"""The parts of which figures are drawn with matplotlib: style, axes, points, boxes and error bars."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeGuard

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from pipeline.system.formatting import printable
from stages.sweep.report.svg import BEST, GRID, INK, POINT
from stages.sweep.search.record import FINISHED, TrialRecord

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
LONGEST_LABEL = 16  # letters of a category's label
Groups = dict[Any, list[TrialRecord]]  # by a parameter's value


@dataclass(frozen=True)
class Scores:
    """The trials that have a score. Scores are drawn times `scale`, on an axis named `label`."""

    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    label: str
    scale: float

    def value(self, trial: TrialRecord) -> float:
        """Return the score of a trial as it is drawn."""
        return (trial.score or 0.0) * self.scale

    def finished(self, trials: Iterable[TrialRecord]) -> list[float]:
        """Return the scores of the finished ones among `trials`, as they are drawn."""
        return [self.value(trial) for trial in trials if trial.state == FINISHED]


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


def draw_categories(axes: Axes, scores: Scores, groups: Groups) -> dict[Any, float]:
    """Draw the points of each group around an x of its own. Return {value: x}."""
    places = {value: float(place) for place, value in enumerate(groups)}
    for value, trials in groups.items():
        spread = [(places[value] + 0.4 * ((0.618 * trial.number) % 1 - 0.5), trial) for trial in trials]
        draw_points(axes, scores, spread)
    labels = [shorten(str(value), LONGEST_LABEL) for value in groups]
    crowded = sum(map(len, labels)) > 40
    axes.set_xticks(list(places.values()), labels, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.6, len(groups) - 0.4)
    return places


def draw_points(axes: Axes, scores: Scores, points: Sequence[tuple[float, TrialRecord]]) -> None:
    """Draw finished trials as filled circles, others as hollow ones, the best one as a diamond."""
    size = 5.0 if len(scores.trials) <= 100 else 3.0
    finished: dict[str, Any] = dict(marker="o", color=POINT, alpha=0.7, markersize=size, markeredgewidth=0)
    hollow: dict[str, Any] = dict(marker="o", color=POINT, alpha=0.7, markersize=size, markerfacecolor="none")
    best: dict[str, Any] = dict(marker="D", color=BEST, markersize=7, zorder=4)
    for style, belongs in ((finished, True), (hollow, False)):
        chosen = [(x, trial) for x, trial in points if trial is not scores.best]
        chosen = [(x, trial) for x, trial in chosen if (trial.state == FINISHED) is belongs]
        axes.plot([x for x, _ in chosen], [scores.value(trial) for _, trial in chosen], linestyle="none", **style)
    for x, trial in points:
        if trial is scores.best:
            axes.plot([x], [scores.value(trial)], linestyle="none", **best)


def draw_box(axes: Axes, place: float, values: Sequence[float]) -> None:
    """Draw quartiles, median and range of some values; axes.boxplot would import pyplot."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    axes.bar(place, high - low, 0.5, bottom=low, fill=False, edgecolor=INK, zorder=3)
    axes.hlines(middle, place - 0.25, place + 0.25, colors=INK, linewidth=2, zorder=3)
    axes.vlines([place, place], [min(values), high], [low, max(values)], colors=INK, linewidth=1, zorder=3)


def draw_spread(axes: Axes, scores: Scores, groups: Mapping[float, Sequence[TrialRecord]]) -> None:
    """Draw mean and standard deviation of the finished trials at each x that has several."""
    several = {x: values for x, trials in groups.items() if len(values := scores.finished(trials)) > 1}
    means = [statistics.fmean(values) for values in several.values()]
    spread = [statistics.stdev(values) for values in several.values()]
    axes.errorbar(list(several), means, spread, fmt="_", color=INK, markersize=12, capsize=4, elinewidth=1, zorder=3)


def group_trials(trials: Sequence[TrialRecord], values: Sequence[Any]) -> Groups:
    """Return the trials by value, sorted by value."""
    groups: Groups = {}
    for trial, value in zip(trials, values, strict=True):
        groups.setdefault(value, []).append(trial)
    return dict(sorted(groups.items()))


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
