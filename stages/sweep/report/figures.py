"""The figures of a sweep's page: learning curves, best so far, methods, and one figure for each parameter."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

from pipeline.config.methods import METHODS
from pipeline.pages.axes import count_text, is_number, new_axes, set_value_axis, shorten
from pipeline.pages.picture import Picture, as_svg, figure_style
from pipeline.pages.svg import BEST, INK, POINT
from stages.sweep.report import leaderboard
from stages.sweep.report.drawing import (
    Scores,
    draw_box,
    draw_categories,
    draw_points,
    draw_spread,
    group_trials,
)
from stages.sweep.search.record import FINISHED, RUNNING, SweepRecord, TrialRecord

DISPLAY_NAMES = {m.name: m.display_name for m in sorted(METHODS.values(), key=lambda m: -len(m.terms))}
CURVE_POINTS = 20_000  # of all learning curves together, so that the page of a large sweep stays small
MOST_CATEGORIES = 24


def pictures(record: SweepRecord) -> dict[str, Any]:
    """Return all figures of the page, by their names in the template."""
    trials = tuple(trial for trial in record.trials if trial.score is not None and math.isfinite(trial.score))
    values = [trial.score for trial in trials] + [score for trial in record.trials for _, score in trial.curve]
    share = all(score is not None and 0 <= score <= 1 for score in values)
    label = shorten(record.metric, 40) + (" (%)" if share else "")
    scores = Scores(trials, record.best if record.best in trials else None, label, 100 if share else 1)
    with figure_style():
        parameters = [_parameter(name, scores) for name in leaderboard.parameter_names(record) if name != "method"]
        fixed = [_curves(record, scores), _progress(record, scores), _methods(record, scores)]
        drawn = as_svg([*fixed, *parameters])
    curves, progress, methods, *parameters = drawn
    return {"curves": curves, "progress": progress, "methods": methods, "parameters": parameters}


def _parameter(name: str, scores: Scores) -> Picture:
    """Draw score against the value of one parameter: every trial, and mean and deviation of equal values."""
    trials = [trial for trial in scores.trials if trial.parameters.get(name) is not None]
    values = [trial.parameters[name] for trial in trials]
    if all(map(is_number, values)):
        missing = len(scores.trials) - len(trials)
        note = f"Trials without this parameter, not drawn: {missing}." if missing else ""
        groups = group_trials(trials, values)
    else:
        note, trials = "", list(scores.trials)
        groups = group_trials(trials, [leaderboard.value_text(trial.parameters.get(name)) for trial in trials])
    if not groups:
        return Picture(name, note or "No scores yet.")
    if not all(map(is_number, groups)) and len(groups) > MOST_CATEGORIES:
        return Picture(name, f"{len(groups)} different values: too many to draw.")
    figure, axes = new_axes(shorten(name, 40), scores.label)
    if all(map(is_number, groups)):
        set_value_axis(axes, sorted(groups))
        places = {value: float(value) for value in groups}
        draw_points(axes, scores, [(float(trial.parameters[name]), trial) for trial in trials])
    else:
        places = draw_categories(axes, scores, groups)
    draw_spread(axes, scores, {places[value]: members for value, members in groups.items()})
    return Picture(name, note, figure)


def _curves(record: SweepRecord, scores: Scores) -> Picture:
    """Draw score against optimizer steps, for every trial."""
    title = "Learning curves"
    trials = [trial for trial in record.trials if trial.curve]
    if not trials:
        return Picture(title, "No evaluations yet.")
    figure, axes = new_axes("optimizer steps", scores.label)
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
    axes.xaxis.set_major_formatter(count_text)
    return Picture(title, "", figure)


def _progress(record: SweepRecord, scores: Scores) -> Picture:
    """Draw the best finished score so far against all examples trained on, in the order in which trials ended."""
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
    figure, axes = new_axes("examples trained on, all trials together", scores.label)
    xs, best = [x for x, _ in finished], list(accumulate((scores.value(trial) for _, trial in finished), max))
    total = sum(trial.examples for trial in ended)
    axes.step([*xs, total], [*best, best[-1]], where="post", color=BEST, linewidth=2)
    draw_points(axes, scores, finished)
    axes.xaxis.set_major_formatter(count_text)
    return Picture(title, "", figure)


def _methods(record: SweepRecord, scores: Scores) -> Picture:
    """Draw scores by method, Skip and Last first: every trial, and quartiles of the finished ones."""
    tried = [method for method in DISPLAY_NAMES if any(trial.method == method for trial in record.trials)]
    tried += sorted({trial.method for trial in record.trials} - set(DISPLAY_NAMES))
    title = "PKD-Skip against PKD-Last" if set(tried) >= {"pkd-skip", "pkd-last"} else "Methods"
    names = [DISPLAY_NAMES.get(method, method) for method in tried]
    if len(tried) < 2:
        only = f"Every trial is of one method, {names[0]}" if tried else "No trials yet"
        return Picture(title, f"{only}: there is nothing to compare.")
    members = {method: [trial for trial in scores.trials if trial.method == method] for method in tried}
    groups = {DISPLAY_NAMES.get(method, method): trials for method, trials in members.items() if trials}
    if len(groups) < 2:
        return Picture(title, f"{' and '.join(names)} were tried; fewer than two of them have scores yet.")
    figure, axes = new_axes("method", scores.label)
    places = draw_categories(axes, scores, groups)
    for name, trials in groups.items():
        if len(finished := scores.finished(trials)) > 2:
            draw_box(axes, places[name], finished)
    note = " ".join(_method_note(name, trials) for name, trials in groups.items())
    return Picture(title, note, figure)


def _method_note(name: str, trials: Iterable[TrialRecord]) -> str:
    finished = [trial.score for trial in trials if trial.state == FINISHED and trial.score is not None]
    if not finished:
        return f"{name}: none finished."
    best, middle = leaderboard.score_text(max(finished)), leaderboard.score_text(statistics.median(finished))
    return f"{name}: best {best}, median {middle} of {len(finished)} finished."


def _thinned(curve: Sequence[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """Return at most `most` of the finite points of a curve, its last one among them."""
    finite = [point for point in curve if math.isfinite(point[1])]
    return finite[:: -max(math.ceil(len(finite) / most), 1)][::-1]
