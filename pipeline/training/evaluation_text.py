"""An evaluation as tables for people."""

from collections.abc import Iterator, Sequence

from pipeline.data.calibration import Calibration
from pipeline.data.evaluation import ClassScores
from pipeline.data.intervals import RESAMPLES
from pipeline.system.formatting import printable, table
from pipeline.training.run_evaluation import Comparison, RunEvaluation

MOST_CLASSES = 30  # in a table


def evaluation_text(runs: Sequence[RunEvaluation], comparisons: Sequence[Comparison]) -> str:
    """Return the tables of one run, or the metrics of several and their differences."""
    tables = [*_of_run(runs[0])] if len(runs) == 1 else [*(_metrics(runs, split) for split in runs[0].metrics)]
    if comparisons:
        tables.append(_differences(comparisons))
    return "\n\n".join([*tables, f"Intervals are of {RESAMPLES:,} bootstrap resamples of the examples."])


def _of_run(run: RunEvaluation) -> Iterator[str]:
    for split in run.examples:
        if split in run.metrics:
            yield _metrics([run], split)
        if split in run.per_class:
            yield _classes(run.per_class[split])
        if split in run.calibration:
            yield _bins(run.calibration[split])


def _metrics(runs: Sequence[RunEvaluation], split: str) -> str:
    """Return a table of the metrics of a split: a row for each metric, and two columns for each run."""
    header = ["metric"]
    for number in range(1, len(runs) + 1):
        header += [f"[{number}]" if len(runs) > 1 else "value", "95 % interval"]
    names = runs[0].metrics.get(split, {})
    rows = [[name, *(cell for run in runs for cell in _cells(run, split, name))] for name in names]
    teacher = {"agreement with teacher": "agreement", "divergence from teacher": "kl"}
    for title, field in teacher.items():
        values = [getattr(run, field).get(split) for run in runs]
        if any(value is not None for value in values):
            rows.append([title, *(cell for value in values for cell in (_number(value), "–"))])
    lines = [f"[{number}] {printable(run.run)}" for number, run in enumerate(runs, start=1) if len(runs) > 1]
    first = "" if lines else f"{printable(runs[0].run)}, "
    return "\n".join([*lines, f"{first}{printable(split)}: {runs[0].examples[split]:,} examples", table(header, rows)])


def _cells(run: RunEvaluation, split: str, name: str) -> tuple[str, str]:
    if name not in run.metrics[split]:  # runs that were judged by other metrics
        return "–", "–"
    low, high = run.intervals[split][name]
    return _number(run.metrics[split][name]), f"{_number(low)} – {_number(high)}"


def _classes(scores: dict[str, ClassScores]) -> str:
    rows = [
        [name, *map(_number, (each.precision, each.recall, each.f1)), f"{each.examples:,}"]
        for name, each in list(scores.items())[:MOST_CLASSES]
    ]
    more = f"\n… and {len(scores) - MOST_CLASSES:,} more classes" if len(scores) > MOST_CLASSES else ""
    return table(["class", "precision", "recall", "f1", "examples"], rows) + more


def _bins(calibration: Calibration) -> str:
    rows = [
        [f"{each.low:.1f} – {each.high:.1f}", f"{each.examples:,}", _number(each.confidence), _number(each.accuracy)]
        for each in calibration.bins
    ]
    text = table(["confidence", "predictions", "mean confidence", "right"], rows)
    return f"{text}\nexpected calibration error: {_number(calibration.error)}"


def _differences(comparisons: Sequence[Comparison]) -> str:
    rows = []
    for each in comparisons:
        low, high = (f"{value:+.4g}" for value in each.interval)
        p = "–" if each.mcnemar_p is None else f"{each.mcnemar_p:.3g}"
        names = (printable(name) for name in (each.run, each.against, each.split, each.metric))
        rows.append([*names, f"{each.difference:+.4g}", f"{low} – {high}", p])
    return table(["run", "minus", "split", "metric", "difference", "95 % interval", "McNemar p"], rows)


def _number(value: float | None) -> str:
    """Return a number with four digits; a metric that is a part of 1 has as many behind the point."""
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.4g}"
