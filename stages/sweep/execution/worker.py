"""What is done with a trial wherever it runs: in a process of this machine, or on a node of a cluster."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.training import TrainStudentConfig
from pipeline.errors import BusyRun, DistillError, Interrupted, one_line
from pipeline.training.run_directory import read_curve
from pipeline.training.training_state import Evaluation, PausedTraining, Progress

DONE, STOPPED, FAILED, BUSY, INTERRUPTED = "done", "stopped", "failed", "busy", "interrupted"
TELL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """Trials that train together up to step `until` (None: to the end). `keys` name them, `judge` their dev split."""

    keys: tuple[str, ...]
    configs: tuple[TrainStudentConfig, ...]
    until: int | None
    judge: str


@dataclass(frozen=True)
class ProgressUpdate:
    """How far a trial is: `step` of `total`, the examples and seconds of this job, and its last score, if any."""

    key: str
    step: int
    total: int
    examples: int
    seconds: float
    score: float | None


@dataclass(frozen=True)
class Outcome:
    """How a trial's part of a job ended: done (trained to the end), stopped (at `until`), failed, busy (another process
    trains it), or interrupted (asked to stop, with a checkpoint).
    """

    key: str
    kind: str
    score: float | None = None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    examples: int = 0
    seconds: float = 0.0
    error: str | None = None
    cause: str | None = None  # what failures have in common: the kind of the error
    teacher_forwards: int = 0


def work(job: Job, tell: Callable[[ProgressUpdate], None]) -> list[Outcome]:
    """Train the trials of a job. Whatever happens to them is an outcome."""
    from pipeline.distillation.targets import passes
    from stages import train_student

    before, started = passes.teacher, time.monotonic()
    last: dict[str, ProgressUpdate] = {}
    due = 0.0

    def watch(place: int, progress: Progress) -> None:
        nonlocal due
        score = progress.last.score if progress.last else None
        told = ProgressUpdate(
            job.keys[place], progress.step, progress.total, progress.examples, progress.seconds, score
        )
        last[told.key] = told
        if time.monotonic() >= due:
            for one in last.values():
                tell(one)
            due = time.monotonic() + TELL_SECONDS

    try:
        found: list[Any] = train_student.advance_pack(job.configs, job.until, watch)
    except Exception as error:
        found = [error] * len(job.keys)
    forwards = passes.teacher - before
    seconds = (time.monotonic() - started) / len(job.keys)
    found = [_at(one, config, job.until) for one, config in zip(found, job.configs, strict=True)]
    return [
        _outcome(key, one, job.judge, last[key].examples if key in last else 0, seconds, forwards)
        for key, one in zip(job.keys, found, strict=True)
    ]


def _at(found: Any, config: TrainStudentConfig, until: int | None) -> Any:
    """A training that somebody else has brought further than `until` is judged by its last evaluation up to there, or
    by the first one after it.
    """
    if not isinstance(found, PausedTraining) or until is None or found.step <= until:
        return found
    curve, _ = read_curve(Path(config.out or ""))
    step, score = ([one for one in curve if one[0] <= until] or curve[:1] or [(found.step, found.evaluation.score)])[-1]
    name = next(iter(found.evaluation.metrics))
    return PausedTraining(
        step, found.total, Evaluation(step, found.evaluation.epoch * step / found.step, {name: score})
    )


def _outcome(key: str, found: Any, judge: str, examples: int, seconds: float, forwards: int) -> Outcome:
    cost: dict[str, Any] = {"examples": examples, "seconds": seconds, "teacher_forwards": forwards}
    if isinstance(found, PausedTraining):
        return Outcome(key, STOPPED, found.evaluation.score, {judge: found.evaluation.metrics}, **cost)
    if not isinstance(found, Exception):
        return Outcome(key, DONE, next(iter(found.metrics[judge].values())), found.metrics, **cost)
    if isinstance(found, BusyRun):
        return Outcome(key, BUSY, error=str(found), **cost)
    if isinstance(found, Interrupted):
        return Outcome(key, INTERRUPTED, error=str(found), **cost)
    text = str(found) if isinstance(found, DistillError) else f"{type(found).__name__}: {one_line(found)}"
    out_of_memory = isinstance(found, MemoryError) or "out of memory" in text.lower()
    return Outcome(key, FAILED, error=text, cause="out of memory" if out_of_memory else type(found).__name__, **cost)
