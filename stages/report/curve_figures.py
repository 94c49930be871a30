"""The figures of a report that show a training: scores, loss, and patience loss by layer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from pipeline.pages.axes import count_text, new_axes
from pipeline.pages.picture import Picture
from pipeline.pages.svg import INK
from stages.report.comparison import Comparison, Row
from stages.report.figures import LOOKS, Scale, legend
from stages.report.student_run import LogLine, StudentRun

LAYERS = [*LOOKS.values()]
CURVE_POINTS = 40  # of one line: means of neighbours, as the loss of a batch is noisy


def learning_figure(comparison: Comparison, logs: Mapping[StudentRun, Sequence[LogLine]], title: str) -> Picture:
    """Draw the score of the runs of each row against optimizer steps, and the teacher's score."""
    judge = comparison.judge
    curves = {
        row: [curve for run in row.runs if len(curve := _evaluations(logs[run], judge)) > 1] for row in comparison.rows
    }
    if not any(curves.values()):
        return Picture(title, "Every run was evaluated once, at its end. Train with --eval-every for a curve.")
    values = [value for lines in curves.values() for line in lines for _, value in line]
    scale = Scale(judge, comparison.is_share and all(0 <= value <= 1 for value in values))
    figure, axes = new_axes("optimizer steps", scale.label)
    axes.axhline(scale(comparison.teacher.mean), color=INK, linestyle="--", linewidth=1, label="Teacher")
    for row, lines in curves.items():
        colour, mark, dash = LOOKS[row.method]
        for line in lines if len(lines) > 1 else ():
            steps, scores = zip(*line, strict=True)
            axes.plot(steps, [scale(score) for score in scores], color=colour, linewidth=0.6, alpha=0.35)
        if mean := [(step, scale(score)) for step, score in _mean(lines)]:
            _draw_curve(axes, mean, row.name, colour, mark, dash)
    axes.xaxis.set_major_formatter(count_text)
    legend(figure, axes)
    single = sum(1 for row in comparison.rows for _ in row.runs) - sum(map(len, curves.values()))
    note = f" Runs that were evaluated only once are not drawn: {single}." if single else ""
    return Picture(title, f"Thick: mean over seeds. Thin: each run.{note}", figure)


def loss_figure(comparison: Comparison, logs: Mapping[StudentRun, Sequence[LogLine]], title: str) -> Picture:
    """Draw the training loss of each row against optimizer steps, the mean over its runs."""
    curves = {row: _mean_curve(logs[run] for run in row.runs) for row in comparison.rows}
    curves = {row: curve for row, curve in curves.items() if curve}
    if not curves:
        return Picture(title, "The logs of these runs do not have losses.")
    figure, axes = new_axes("optimizer steps", "training loss")
    for row, curve in curves.items():
        colour, mark, dash = LOOKS[row.method]
        _draw_curve(axes, curve, row.name, colour, mark, dash)
    if min(value for curve in curves.values() for _, value in curve) > 0:
        _set_log_scale(axes)
    axes.xaxis.set_major_formatter(count_text)
    legend(figure, axes)
    return Picture(title, "Losses of different methods are sums of different terms.", figure)


def patience_figure(row: Row, logs: Mapping[StudentRun, Sequence[LogLine]], title: str) -> Picture | None:
    """Draw the patience loss of each matched layer, the mean over the runs of a row; None for a row without any."""
    layers = sorted({layer for run in row.runs for line in logs[run] for layer in line.layers})
    curves = {}
    for layer in layers:
        lines = [[(line.step, line.layers[layer]) for line in logs[run] if layer in line.layers] for run in row.runs]
        curves[layer] = _mean(lines)
    if not curves:
        return None
    figure, axes = new_axes("optimizer steps", "patience loss")
    for place, (layer, curve) in enumerate(curves.items()):
        _draw_curve(axes, curve, f"teacher layer {layer}", *LAYERS[(place + 3) % len(LAYERS)])
    if min(value for curve in curves.values() for _, value in curve) > 0:
        _set_log_scale(axes)
    axes.xaxis.set_major_formatter(count_text)
    legend(figure, axes)
    return Picture(title, "", figure)


def _draw_curve(axes: Axes, curve: Sequence[tuple[int, float]], name: str, colour: str, mark: str, dash: Any) -> None:
    steps, values = zip(*curve, strict=True)
    every = max(1, len(curve) // 6)
    axes.plot(steps, values, color=colour, linestyle=dash, marker=mark, markersize=4, markevery=every, label=name)


def _set_log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _evaluations(log: Sequence[LogLine], metric: str) -> list[tuple[int, float]]:
    scores = {line.step: line.values[metric] for line in log if metric in line.values}
    return sorted(scores.items())


def _mean_curve(logs: Iterable[Sequence[LogLine]]) -> list[tuple[int, float]]:
    return _mean([[(line.step, line.values["loss"]) for line in log if "loss" in line.values] for log in logs])


def _mean(curves: Iterable[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Return the mean of several curves at each step, thinned to `CURVE_POINTS` by means of neighbours."""
    by_step: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            by_step.setdefault(step, []).append(value)
    points = [(step, float(np.mean(values))) for step, values in sorted(by_step.items())]
    width = -(-len(points) // CURVE_POINTS) or 1
    chunks = [points[start : start + width] for start in range(0, len(points), width)]
    return [(chunk[-1][0], float(np.mean([value for _, value in chunk]))) for chunk in chunks]
