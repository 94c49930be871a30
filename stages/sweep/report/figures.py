"""The figures of a sweep's page, drawn with matplotlib."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, TypeGuard

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from pipeline.system.formatting import printable
from stages.sweep.report import leaderboard
from stages.sweep.report.svg import BEST, GRID, INK, POINT, svg
from stages.sweep.search.record import FINISHED, RUNNING, SweepRecord, TrialRecord

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
    "text.parse_math": False,  # a value between dollar signs is no formula
    "xtick.color": INK,
    "ytick.color": INK,
}
METHODS = {"pkd-skip": "PKD-Skip", "pkd-last": "PKD-Last", "pkd-custom": "PKD-custom", "kd": "KD", "ft": "FT"}
CURVE_POINTS = 20_000  # of all learning curves together, so that the page of a large sweep stays small
MOST_CATEGORIES = 24
Groups = dict[Any, list[TrialRecord]]  # by a parameter's value
LONGEST_WORD = 16  # of a word beside an axis


@dataclass(frozen=True)
class Picture:
    """A figure of the page; `note` says what its axes cannot. There is none where there is nothing to draw."""

    title: str
    note: str
    figure: Figure | None = None
    svg: Markup | None = None


@dataclass(frozen=True)
class _Scores:
    """The trials that have a score, and how scores are drawn: as `label`, times `scale`."""

    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    label: str
    scale: float

    def of(self, trial: TrialRecord) -> float:
        return (trial.score or 0.0) * self.scale

    def finished(self, trials: Iterable[TrialRecord]) -> list[float]:
        return [self.of(trial) for trial in trials if trial.state == FINISHED]


def pictures(record: SweepRecord) -> dict[str, Any]:
    """All figures of the page, by their names in the template."""
    trials = tuple(trial for trial in record.trials if trial.score is not None and math.isfinite(trial.score))
    seen = [trial.score for trial in trials] + [score for trial in record.trials for _, score in trial.curve]
    share = all(score is not None and 0 <= score <= 1 for score in seen)
    label = _short(record.metric, 40) + (" (%)" if share else "")
    scores = _Scores(trials, record.best if record.best in trials else None, label, 100 if share else 1)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the user's matplotlibrc
        matplotlib.rcParams.update(STYLE)
        parameters = [_parameter(name, scores) for name in leaderboard.parameter_names(record) if name != "method"]
        others = [_curves(record, scores), _progress(record, scores), _methods(record, scores)]
        drawn = [
            replace(one, svg=svg(one.figure, one.title, f"f{i}") if one.figure else None)
            for i, one in enumerate([*others, *parameters])
        ]
    curves, progress, methods, *parameters = drawn
    return {"curves": curves, "progress": progress, "methods": methods, "parameters": parameters}


def _drawn(picture: Picture, prefix: str) -> Picture:
    return replace(picture, svg=svg(picture.figure, picture.title, prefix)) if picture.figure else picture


def _parameter(name: str, scores: _Scores) -> Picture:
    """Score against the value of one parameter: every trial, and mean and spread of equal values."""
    trials = [trial for trial in scores.trials if trial.parameters.get(name) is not None]
    values = [trial.parameters[name] for trial in trials]
    if all(map(_is_number, values)):
        missing = len(scores.trials) - len(trials)
        note = f"Trials without this parameter, not drawn: {missing}." if missing else ""
        groups = _groups(trials, values)
    else:
        note, trials = "", list(scores.trials)
        groups = _groups(trials, [leaderboard.value_text(trial.parameters.get(name)) for trial in trials])
    if not groups:
        return Picture(name, note or "No scores yet.")
    if not all(map(_is_number, groups)) and len(groups) > MOST_CATEGORIES:
        return Picture(name, f"{len(groups)} different values: too many to draw.")
    figure, axes = _axes(_short(name, 40), scores.label)
    if all(map(_is_number, groups)):
        _value_axis(axes, sorted(groups))
        places = {value: float(value) for value in groups}
        _draw_points(axes, scores, [(float(trial.parameters[name]), trial) for trial in trials])
    else:
        places = _draw_categories(axes, scores, groups)
    _draw_spread(axes, scores, {places[value]: members for value, members in groups.items()})
    return Picture(name, note, figure)


def _curves(record: SweepRecord, scores: _Scores) -> Picture:
    """Score against optimizer steps, of every trial."""
    title = "Learning curves"
    trials = [trial for trial in record.trials if trial.curve]
    if not trials:
        return Picture(title, "No evaluations yet.")
    figure, axes = _axes("optimizer steps", scores.label)
    most = max(CURVE_POINTS // len(trials), 2)
    width = 1.0 if len(trials) <= 100 else 0.5
    kinds: tuple[tuple[Callable[[TrialRecord], bool], dict[str, Any]], ...] = (
        (lambda trial: trial.state not in (FINISHED, RUNNING), dict(color=INK, alpha=0.3, linewidth=0.7 * width)),
        (lambda trial: trial.state == RUNNING, dict(color=POINT, alpha=0.9, linestyle=":")),
        (lambda trial: trial.state == FINISHED, dict(color=POINT, alpha=0.6, linewidth=width)),
        (lambda trial: trial is scores.best, dict(color=BEST, linewidth=2.2)),
    )
    for belongs, style in kinds:
        curves = [_thinned(trial.curve, most) for trial in trials if belongs(trial)]
        points = [point for curve in curves for point in (*curve, (math.nan, math.nan))]
        axes.plot([step for step, _ in points], [score * scores.scale for _, score in points], **style)
        lone = [curve[0] for curve in curves if len(curve) == 1]  # no line shows those
        axes.plot([step for step, _ in lone], [score * scores.scale for _, score in lone], ".", **style)
    axes.xaxis.set_major_formatter(_count)
    return Picture(title, "", figure)


def _progress(record: SweepRecord, scores: _Scores) -> Picture:
    """The best finished score so far against all examples trained on, trial after trial as they ended."""
    title = "Best so far"
    ended = sorted(
        (trial for trial in record.trials if trial.ended is not None or (trial.reused and trial.state == FINISHED)),
        key=lambda trial: (not trial.reused, trial.ended or 0.0, trial.number),
    )
    examples = accumulate(trial.examples for trial in ended)
    finished = [(x, trial) for x, trial in zip(examples, ended, strict=True) if trial.state == FINISHED]
    finished = [(x, trial) for x, trial in finished if trial in scores.trials]
    if not finished:
        return Picture(title, "No trial has finished yet.")
    figure, axes = _axes("examples trained on, all trials together", scores.label)
    xs, best = [x for x, _ in finished], list(accumulate((scores.of(trial) for _, trial in finished), max))
    total = sum(trial.examples for trial in ended)
    axes.step([*xs, total], [*best, best[-1]], where="post", color=BEST, linewidth=2)
    _draw_points(axes, scores, finished)
    axes.xaxis.set_major_formatter(_count)
    return Picture(title, "", figure)


def _methods(record: SweepRecord, scores: _Scores) -> Picture:
    """Scores by method, Skip and Last first: every trial, and quartiles of the finished ones."""
    tried = [method for method in METHODS if any(trial.method == method for trial in record.trials)]
    tried += sorted({trial.method for trial in record.trials} - set(METHODS))
    title = "PKD-Skip against PKD-Last" if set(tried) >= {"pkd-skip", "pkd-last"} else "Methods"
    names = [METHODS.get(method, method) for method in tried]
    if len(tried) < 2:
        only = f"Every trial is of one method, {names[0]}" if tried else "No trials yet"
        return Picture(title, f"{only}: there is nothing to compare.")
    members = {method: [trial for trial in scores.trials if trial.method == method] for method in tried}
    groups = {METHODS.get(method, method): trials for method, trials in members.items() if trials}
    if len(groups) < 2:
        return Picture(title, f"{' and '.join(names)} were tried; fewer than two of them have scores yet.")
    figure, axes = _axes("method", scores.label)
    places = _draw_categories(axes, scores, groups)
    for name, trials in groups.items():
        if len(finished := scores.finished(trials)) > 2:
            _draw_box(axes, places[name], finished)
    note = " ".join(_of_method(name, trials) for name, trials in groups.items())
    return Picture(title, note, figure)


def _of_method(name: str, trials: Iterable[TrialRecord]) -> str:
    found = [trial.score for trial in trials if trial.state == FINISHED and trial.score is not None]
    if not found:
        return f"{name}: none finished."
    best, middle = leaderboard.score_text(max(found)), leaderboard.score_text(statistics.median(found))
    return f"{name}: best {best}, median {middle} of {len(found)} finished."


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure()
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    return figure, axes


def _value_axis(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where values span a decade or are as small as learning rates; ticks at the values if they are few."""
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


def _draw_categories(axes: Axes, scores: _Scores, groups: Groups) -> dict[Any, float]:
    """Each group's points around a place of its own, which is returned."""
    places = {value: float(place) for place, value in enumerate(groups)}
    for value, trials in groups.items():
        spread = [(places[value] + 0.4 * ((0.618 * trial.number) % 1 - 0.5), trial) for trial in trials]
        _draw_points(axes, scores, spread)
    words = [_short(str(value), LONGEST_WORD) for value in groups]
    crowded = sum(map(len, words)) > 40
    axes.set_xticks(list(places.values()), words, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.6, len(groups) - 0.4)
    return places


def _draw_points(axes: Axes, scores: _Scores, points: Sequence[tuple[float, TrialRecord]]) -> None:
    """Finished trials filled, others hollow, the best one a diamond."""
    size = 5.0 if len(scores.trials) <= 100 else 3.0
    finished: dict[str, Any] = dict(marker="o", color=POINT, alpha=0.7, markersize=size, markeredgewidth=0)
    hollow: dict[str, Any] = dict(marker="o", color=POINT, alpha=0.7, markersize=size, markerfacecolor="none")
    best: dict[str, Any] = dict(marker="D", color=BEST, markersize=7, zorder=4)
    for style, belongs in ((finished, True), (hollow, False)):
        chosen = [(x, trial) for x, trial in points if trial is not scores.best]
        chosen = [(x, trial) for x, trial in chosen if (trial.state == FINISHED) is belongs]
        axes.plot([x for x, _ in chosen], [scores.of(trial) for _, trial in chosen], linestyle="none", **style)
    for x, trial in points:
        if trial is scores.best:
            axes.plot([x], [scores.of(trial)], linestyle="none", **best)


def _draw_box(axes: Axes, place: float, values: Sequence[float]) -> None:
    """Quartiles, median and the whole range. (axes.boxplot would import pyplot.)"""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    axes.bar(place, high - low, 0.5, bottom=low, fill=False, edgecolor=INK, zorder=3)
    axes.hlines(middle, place - 0.25, place + 0.25, colors=INK, linewidth=2, zorder=3)
    axes.vlines([place, place], [min(values), high], [low, max(values)], colors=INK, linewidth=1, zorder=3)


def _draw_spread(axes: Axes, scores: _Scores, groups: Mapping[float, Sequence[TrialRecord]]) -> None:
    """Mean and standard deviation of the finished trials at each place that has several."""
    found = {x: values for x, trials in groups.items() if len(values := scores.finished(trials)) > 1}
    means = [statistics.fmean(values) for values in found.values()]
    spread = [statistics.stdev(values) for values in found.values()]
    axes.errorbar(list(found), means, spread, fmt="_", color=INK, markersize=12, capsize=4, elinewidth=1, zorder=3)


def _groups(trials: Sequence[TrialRecord], values: Sequence[Any]) -> Groups:
    """Trials by value, in the order of the values if they have one."""
    groups: Groups = {}
    for trial, value in zip(trials, values, strict=True):
        groups.setdefault(value, []).append(trial)
    return dict(sorted(groups.items()))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _short(text: str, length: int) -> str:
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def _thinned(curve: Sequence[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most `most` of its finite points, the last one among them."""
    finite = [point for point in curve if math.isfinite(point[1])]
    return finite[:: -max(math.ceil(len(finite) / most), 1)][::-1]


def _count(value: float, _: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if abs(value) >= 1e4 else f"{value:g}"
