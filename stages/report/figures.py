"""The figures of a report that show scores, their place against size and speed, and calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.config.methods import METHODS
from pipeline.data.calibration import Calibration
from pipeline.pages.axes import count_text, new_axes, shorten
from pipeline.pages.picture import Picture
from pipeline.pages.svg import BEST, GREEN, INK, OCHRE, POINT, PURPLE, QUIET
from stages.report.comparison import Comparison, Estimate, Row

# A colour, a mark and a dash for each method: figures can be read in print and by colour-blind people.
LOOKS: Mapping[str, tuple[str, str, Any]] = {
    "ft": (QUIET, "s", (0, (1, 1))),
    "pseudo": (OCHRE, "v", (0, (5, 1, 1, 1))),
    "kd": (GREEN, "^", (0, (4, 2))),
    "pkd-skip": (POINT, "o", "-"),
    "pkd-last": (BEST, "D", (0, (7, 2))),
    "pkd-custom": (PURPLE, "p", (0, (3, 1, 1, 1, 1, 1))),
}
TEACHER = (INK, "*")


class Scale:
    """The axis of a metric, in percent or as it is."""

    def __init__(self, metric: str, is_share: bool):
        self.factor = 100 if is_share else 1
        name = shorten(metric, 40)
        self.label = f"{name} (%)" if is_share else name

    def __call__(self, value: float) -> float:
        """Return a value as it is drawn."""
        return self.factor * value


def scale_of(comparison: Comparison) -> Scale:
    """Return the axis of the scores of a comparison."""
    return Scale(comparison.judge, comparison.is_share)


def score_figure(comparison: Comparison, title: str) -> Picture:
    """Draw the score of every method with its interval, against the teacher's."""
    scale, teacher = scale_of(comparison), comparison.teacher
    figure, axes = new_axes(scale.label, "")
    figure.set_size_inches(4.6, 1.1 + 0.34 * len(comparison.rows))
    axes.axvspan(scale(teacher.low), scale(teacher.high), color=INK, alpha=0.08, linewidth=0)
    axes.axvline(scale(teacher.mean), color=INK, linestyle="--", linewidth=1)
    names = [*(row.name for row in comparison.rows), "Teacher"]
    for place, row in enumerate(comparison.rows):
        _draw_estimate(axes, scale, row.score, place, *LOOKS[row.method][:2])
    _draw_estimate(axes, scale, teacher, len(comparison.rows), *TEACHER)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return Picture(title, "Mark: mean. Bar: 95 % interval. Dashed line and band: the teacher.", figure)


def _draw_estimate(axes: Axes, scale: Scale, estimate: Estimate, place: float, colour: str, mark: str) -> None:
    axes.plot([scale(estimate.low), scale(estimate.high)], [place, place], color=colour, linewidth=1.6)
    axes.plot([scale(estimate.mean)], [place], color=colour, marker=mark, markersize=8 if mark == "*" else 6)


def points_figure(
    comparison: Comparison, title: str, x_label: str, points: Sequence[tuple[Row | None, float]]
) -> Picture:
    """Draw the score of rows, None for the teacher, at an x of each, as parameters or speed."""
    scale = scale_of(comparison)
    figure, axes = new_axes(x_label, scale.label)
    largest = max(x for _, x in points)
    for row, x in _side_by_side(points, 0.02 * largest):
        estimate = row.score if row else comparison.teacher
        colour, mark = LOOKS[row.method][:2] if row else TEACHER
        ends = [[scale(estimate.mean - estimate.low)], [scale(estimate.high - estimate.mean)]]
        style: dict[str, Any] = dict(color=colour, marker=mark, linestyle="none", capsize=3, elinewidth=1)
        size = 10 if mark == "*" else 6
        label = row.name if row else "Teacher"
        axes.errorbar([x], [scale(estimate.mean)], np.maximum(ends, 0), markersize=size, label=label, **style)
    axes.set_xlim(0, 1.12 * largest)
    axes.xaxis.set_major_formatter(count_text)
    legend(figure, axes)
    moved = len({x for _, x in points}) < len(points)
    return Picture(title, "Methods at the same place are drawn side by side." if moved else "", figure)


def reliability_figure(models: Sequence[tuple[str, Calibration, str, str]], title: str) -> Picture:
    """Draw accuracy against confidence of (name, calibration, colour, mark), and the diagonal of a calibrated model."""
    figure, axes = new_axes("confidence (%)", "right (%)")
    axes.plot([0, 100], [0, 100], color=INK, linestyle=":", linewidth=1, label="calibrated")
    for name, calibration, colour, mark in models:
        x = [100 * part.confidence for part in calibration.bins]
        y = [100 * part.accuracy for part in calibration.bins]
        sizes = [part.examples for part in calibration.bins]
        axes.plot(x, y, color=colour, marker=mark, markersize=9 if mark == "*" else 5, label=name)
        axes.scatter(x, y, [300 * size / sum(sizes) for size in sizes], color=colour, alpha=0.2, linewidths=0)
    low = min(100 * part.confidence for _, calibration, *_ in models for part in calibration.bins)
    axes.set_xlim(max(0, low - 8), 102)
    axes.set_ylim(0, 104)
    legend(figure, axes)
    return Picture(title, "Shade of a mark: the share of the examples in its bin.", figure)


def _side_by_side(points: Sequence[tuple[Row | None, float]], step: float) -> list[tuple[Row | None, float]]:
    """Return the points with those of the same x moved apart, so that each can be seen."""
    moved = []
    for place, (row, x) in enumerate(points):
        same = [number for number, (_, at) in enumerate(points) if at == x]
        moved.append((row, x + step * (same.index(place) - (len(same) - 1) / 2)))
    return moved


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend of a figure above its axes."""
    names = axes.get_legend_handles_labels()[1]
    columns = 3 if max(map(len, names)) < 15 and len(names) not in (2, 4) else 2
    figure.legend(
        loc="outside upper center", ncols=columns, frameon=False, fontsize=8, handlelength=2.4, labelcolor=INK
    )


def method_look(method: str) -> tuple[str, str]:
    """Return colour and mark of a method."""
    return LOOKS[METHODS[method].name][:2]
