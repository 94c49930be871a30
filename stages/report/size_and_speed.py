"""Scores against the size of students, and against the speed of their predictions where it was measured."""

from collections.abc import Iterator

from pipeline.errors import shell_line
from stages.report.blocks import Block, Figures, Table, Text
from stages.report.comparison import Comparison, Row
from stages.report.facts import teacher_parameters
from stages.report.figures import points_figure
from stages.report.inference_speed import InferenceSpeeds
from stages.sweep.report.leaderboard import UNKNOWN


def size_and_speed(comparison: Comparison, speeds: InferenceSpeeds | None) -> Iterator[Block]:
    """Return parameters and training speed, then the speed of predictions."""
    yield from _size_blocks(comparison)
    yield from _speed_blocks(comparison, speeds)


def _size_blocks(comparison: Comparison) -> Iterator[Block]:
    """Return parameters, training speed, and the score against the parameters."""
    total = teacher_parameters(comparison.distillation.cache)
    rows = []
    for row in comparison.rows:
        parameters, speeds = row.runs[0].result.parameters, [run.result.train_examples_per_second for run in row.runs]
        share = f"{parameters / total:.1%}" if total else UNKNOWN
        rows.append((row.name, f"{parameters:,}", share, f"{sum(speeds) / len(speeds):,.1f}"))
    rows.append(("Teacher", f"{total:,}" if total else UNKNOWN, "100.0%" if total else UNKNOWN, UNKNOWN))
    header = ("method", "parameters", "of the teacher's", "training, examples/s")
    yield Table("Size, and speed of training", header, tuple(rows))
    points: list[tuple[Row | None, float]] = [(row, row.runs[0].result.parameters) for row in comparison.rows]
    points += [(None, total)] if total else []
    yield Figures((points_figure(comparison, "Score and size", "parameters", points),))
    yield Text("The speed of training is that of the machine, and of everything else that ran on it.")


def _speed_blocks(comparison: Comparison, speeds: InferenceSpeeds | None) -> Iterator[Block]:
    """Return the speed of predictions, and the score against it; the command that measures it where it is not known."""
    runs = [run for row in comparison.rows for run in row.runs]
    models = speeds.of_runs(runs) if speeds else ()
    if speeds is None or not any(model.run for model in models):
        line = shell_line("benchmark", "inference", comparison.best.path)
        yield Text(f"The speed of predictions was not measured. Measure it, then add --inference FILE: {line}")
        return
    rows_by_run = {run: row for row in comparison.rows for run in row.runs}
    rows = []
    for model in models:
        name = rows_by_run[model.run].name if model.run else "Teacher"
        cells = [f"{model.speeds[shape]:,.4g}" if shape in model.speeds else UNKNOWN for shape in speeds.shapes]
        rows.append((name, model.form, *cells))
    caption = "Predictions, examples per second, by examples × tokens of a batch"
    yield Table(caption, ("method", "form", *speeds.shapes), tuple(rows))
    shape, form = speeds.shapes[-1], models[0].form
    points = [
        (rows_by_run[model.run] if model.run else None, model.speeds[shape])
        for model in models
        if model.form == form and shape in model.speeds
    ]
    yield Figures((points_figure(comparison, "Score and speed", f"examples/s, {form}, {shape} tokens", points),))
    yield Text(f"Measured by benchmark inference, in {speeds.file}.")
