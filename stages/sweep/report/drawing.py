"""The parts of which the figures of a sweep are drawn: points, boxes and error bars."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from pipeline.pages.axes import shorten
from pipeline.pages.svg import BEST, INK, POINT
from stages.sweep.search.record import FINISHED, TrialRecord

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
