"""The outcome of a `distill`: its models as rows of the table, and what a reader of the table should know."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache.reader import Cache
from pipeline.config.methods import METHODS
from pipeline.data.splits import selection_split
from pipeline.data.tasks import TEST, role_of
from pipeline.models.checkpoints import load_skeleton
from pipeline.models.encoders import parameter_count
from pipeline.training.run_reader import read_run
from stages.distill.speed import Latencies
from stages.distill.table import Row, model_name, rounded, setting_text
from stages.sweep.search.record import FINISHED, SweepRecord, TrialRecord

FT = METHODS["ft"].display_name
Metrics = Mapping[str, Mapping[str, float]]  # split -> metric -> value


@dataclass(frozen=True)
class HeldOut:
    """The best student on test splits; nothing without such splits. The intervals are of 95 %."""

    metrics: Metrics
    intervals: Mapping[str, Mapping[str, Sequence[float]]]  # split -> metric -> low, high


def model_rows(
    cache: Cache, record: SweepRecord, best: TrialRecord, latencies: Latencies, tested: Metrics
) -> list[Row]:
    """Return the teacher, the best student, then the other finished ones, the better first."""
    depth, metrics = cache.manifest.model.depth, cache.manifest.teacher_metrics
    split = selection_split(cache.splits)
    teacher = Row(
        model="teacher",
        setting="",
        layers=depth,
        score=metrics.get(split or "", {}).get(record.metric),
        test_score=_test_score(metrics, record.metric) if tested else None,
        parameters=parameter_count(load_skeleton(str(cache.teacher))),
        latency_ms=latencies.milliseconds.get(depth),
        out=str(cache.teacher),
    )
    finished = [trial for trial in record.trials if trial.state == FINISHED and trial is not best]
    rest = sorted(finished, key=lambda trial: -(trial.score or 0.0))
    return [
        teacher,
        _student(best, latencies, _test_score(tested, record.metric)),
        *(_student(trial, latencies, None) for trial in rest),
    ]


def _student(trial: TrialRecord, latencies: Latencies, test_score: float | None) -> Row:
    run = read_run(Path(trial.out))
    result = run["result"]
    return Row(
        model=model_name(trial.method),
        setting=setting_text(run["config"]),
        layers=result["student_layers"],
        score=trial.score,
        test_score=test_score,
        parameters=result["parameters"],
        latency_ms=latencies.milliseconds.get(result["student_layers"]),
        out=trial.out,
    )


def _test_score(metrics: Metrics, metric: str) -> float | None:
    """Return the metric on the first test split."""
    return next((values.get(metric) for name, values in metrics.items() if role_of(name) == TEST), None)


def remarks(rows: Sequence[Row], best: TrialRecord, record: SweepRecord, tested: HeldOut) -> Iterator[str]:
    """Yield what the table does not say: how the best was chosen, and whether distilling helped at all."""
    winner, rest = rows[1], rows[2:]
    yield ""
    yield f"The best of {len(rows) - 1} by {record.metric} on dev: {best.out}"
    for split, intervals in tested.intervals.items():
        low, high = intervals[record.metric]
        score = f"{tested.metrics[split][record.metric]:.4f} (95 %: {low:.4f} – {high:.4f})"
        yield f"On {split}, which was not used before: {score}."
    if tested.metrics:
        yield "Its score on dev is a little too high, as it was chosen there."
    elif rest:
        yield "It was chosen on dev, where its score is therefore a little too high. Measure it anew with --test-file."
    if rest:
        yield "Each student was trained once: a small difference between two of them says little."
    distilled = [rounded(row.score) for row in rest if row.model != FT]
    if winner.model == FT and distilled and rounded(winner.score) > max(distilled):
        yield "The best one learned from labels alone (FT): on these rows distilling did not help."
