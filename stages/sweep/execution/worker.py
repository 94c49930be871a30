"""The work of one job: its trials are trained, in a process of this machine or on a node of a cluster."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.training import TrainStudentConfig
from pipeline.errors import BusyRun, DistillError, Interrupted, one_line
from pipeline.training.run_reader import read_curve
from pipeline.training.training_state import Evaluation, PausedTraining, Progress

DONE, STOPPED, FAILED, BUSY, INTERRUPTED = "done", "stopped", "failed", "busy", "interrupted"
UPDATE_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """Trials that train together up to step `until` (None: to the end).

    `keys` name them; `selection_split` is the dev split whose metric is their score.
    """

    keys: tuple[str, ...]
    configs: tuple[TrainStudentConfig, ...]
    until: int | None
    selection_split: str


@dataclass(frozen=True)
class ProgressUpdate:
    """The progress of a trial: `step` of `total`, examples and seconds of this job, and its last score, if any."""

    key: str
    step: int
    total: int
    examples: int
    seconds: float
    score: float | None


@dataclass(frozen=True)
class TrialOutcome:
    """The end of a trial's part of a job.

    Its kind is done (trained to the end), stopped (at `until`), failed, busy (another process trains it), or
    interrupted (by a signal, with a checkpoint).
    """

    key: str
    kind: str
    score: float | None = None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    examples: int = 0
    seconds: float = 0.0
    error: str | None = None
    cause: str | None = None  # the kind of the error, by which failures are compared
    teacher_forwards: int = 0


def work(job: Job, report: Callable[[ProgressUpdate], None]) -> list[TrialOutcome]:
    """Train the trials of a job and return their outcomes; errors are outcomes too."""
    from pipeline.distillation.targets import teacher_forwards
    from pipeline.training.student import advance_pack

    before, started = teacher_forwards.count, time.monotonic()
    last: dict[str, ProgressUpdate] = {}
    due = 0.0

    def watch(index: int, progress: Progress) -> None:
        nonlocal due
        score = progress.last.score if progress.last else None
        update = ProgressUpdate(
            job.keys[index], progress.step, progress.total, progress.examples, progress.seconds, score
        )
        last[update.key] = update
        if time.monotonic() >= due:
            for latest in last.values():
                report(latest)
            due = time.monotonic() + UPDATE_SECONDS

    try:
        results: list[Any] = advance_pack(job.configs, job.until, watch)
    except Exception as error:
        results = [error] * len(job.keys)
    forwards = teacher_forwards.count - before
    seconds = (time.monotonic() - started) / len(job.keys)
    results = [_at_rung(result, config, job.until) for result, config in zip(results, job.configs, strict=True)]
    return [
        _outcome(key, result, job.selection_split, last[key].examples if key in last else 0, seconds, forwards)
        for key, result in zip(job.keys, results, strict=True)
    ]


def _at_rung(result: Any, config: TrainStudentConfig, until: int | None) -> Any:
    """Return a training as it was at `until`, if another process has brought it further.

    Its score is that of its last evaluation up to there, or of the first one after it.
    """
    if not isinstance(result, PausedTraining) or until is None or result.step <= until:
        return result
    curve, _ = read_curve(Path(config.out or ""))
    step, score = (
        [point for point in curve if point[0] <= until] or curve[:1] or [(result.step, result.evaluation.score)]
    )[-1]
    name = next(iter(result.evaluation.metrics))
    return PausedTraining(
        step, result.total, Evaluation(step, result.evaluation.epoch * step / result.step, {name: score})
    )


def _outcome(key: str, result: Any, selection_split: str, examples: int, seconds: float, forwards: int) -> TrialOutcome:
    cost: dict[str, Any] = {"examples": examples, "seconds": seconds, "teacher_forwards": forwards}
    if isinstance(result, PausedTraining):
        return TrialOutcome(key, STOPPED, result.evaluation.score, {selection_split: result.evaluation.metrics}, **cost)
    if not isinstance(result, Exception):
        return TrialOutcome(key, DONE, next(iter(result.metrics[selection_split].values())), result.metrics, **cost)
    if isinstance(result, BusyRun):
        return TrialOutcome(key, BUSY, error=str(result), **cost)
    if isinstance(result, Interrupted):
        return TrialOutcome(key, INTERRUPTED, error=str(result), **cost)
    text = str(result) if isinstance(result, DistillError) else f"{type(result).__name__}: {one_line(result)}"
    out_of_memory = isinstance(result, MemoryError) or "out of memory" in text.lower()
    return TrialOutcome(
        key, FAILED, error=text, cause="out of memory" if out_of_memory else type(result).__name__, **cost
    )
