"""Methods against the teacher: scores with their intervals, and paired differences to students of the labels alone."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.cache.format.columns import LOGITS
from pipeline.config.methods import METHODS
from pipeline.data.evaluation import labelled
from pipeline.data.intervals import bootstrap, percentiles
from pipeline.data.task_kinds import TaskKind
from stages.report.inputs import Distillation
from stages.report.student_run import SEEDS, StudentRun
from stages.report.words import count
from stages.sweep.report.paired import interval

CONTROL = "ft"  # the method that learns from labels only
SEEDS_BASIS, EXAMPLES_BASIS = "seeds", "examples"  # what an interval is over


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval over `count` seeds (Student's t), or over the examples of one run (bootstrap)."""

    mean: float
    low: float
    high: float
    basis: str
    count: int


@dataclass(frozen=True, eq=False)
class Row:
    """Students of one method and depth: `runs` differ in their seeds; `settings` is how many settings were tried."""

    name: str  # of the method, and the number of layers where that differs between the rows
    method: str
    depth: int
    runs: tuple[StudentRun, ...]
    settings: int
    score: Estimate
    to_control: Estimate | None  # paired difference to FT of the same depth

    @property
    def config(self) -> Mapping[str, Any]:
        """The options of its runs but the seeds."""
        return {key: value for key, value in self.runs[0].config.items() if key not in SEEDS}


@dataclass(frozen=True)
class Comparison:
    """The table of methods of one cache."""

    distillation: Distillation
    teacher: Estimate
    rows: tuple[Row, ...]

    @cached_property
    def best(self) -> StudentRun:
        """The run with the highest score; of equals, the first."""
        return best_of(self.distillation, self.distillation.runs)

    @cached_property
    def is_share(self) -> bool:
        """Whether all scores and their intervals are from 0 to 1, so that they are shown in percent."""
        estimates = [self.teacher, *(row.score for row in self.rows)]
        return all(0 <= value <= 1 for estimate in estimates for value in (estimate.low, estimate.mean, estimate.high))

    @property
    def judge(self) -> str:
        """The metric of the table."""
        return self.distillation.metrics.judge

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """The options that differ between the rows for which they have a meaning, besides method and layers."""
        values: dict[str, set[str]] = {}
        for name, value in (item for row in self.rows for item in row.config.items()):
            if value is not None and name not in ("method", "student_layers", "teacher_layers"):
                values.setdefault(name, set()).add(json.dumps(value))
        return tuple(name for name, different in values.items() if len(different) > 1)

    def mean(self, row: Row, split: str, metric: str) -> float | None:
        """Return the mean of another metric over the runs of a row; None where one was not measured."""
        values = [run.result.metrics.get(split, {}).get(metric) for run in row.runs]
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if len(known) == len(values) else None


class Scores:
    """Scores of models on the examples of one split, each also on the same resamples of the examples."""

    def __init__(self, distillation: Distillation):
        self.distillation = distillation
        self._resampled: dict[str, np.ndarray] = {}

    def of_run(self, run: StudentRun) -> float:
        """Return the score of a run, as recorded."""
        return score_of(self.distillation, run)

    def resampled(self, run: StudentRun) -> np.ndarray:
        """Return the score of a run on each resample, float64 [resamples]."""
        key = str(run.path)
        if key not in self._resampled:
            kind = run.kind(self.distillation.cache)
            self._resampled[key] = self._bootstrap(kind, kind.from_stored(run.logits(self.distillation.split)))
        return self._resampled[key]

    def teacher(self) -> Estimate:
        """Return the score of the teacher, with its interval over the examples."""
        metrics, dev = self.distillation.metrics, self.distillation.dev
        logits = dev.column(LOGITS)
        values = self._bootstrap(metrics.kind, logits)
        return Estimate(metrics.score(logits, dev.labels), *percentiles(values), EXAMPLES_BASIS, 1)

    def estimate(self, runs: Sequence[StudentRun]) -> Estimate:
        """Return the mean score of runs that differ in their seeds."""
        scores = [self.of_run(run) for run in runs]
        low, high = interval(scores)
        if low is None or high is None:
            return Estimate(scores[0], *percentiles(self.resampled(runs[0])), EXAMPLES_BASIS, 1)
        return Estimate(float(np.mean(scores)), low, high, SEEDS_BASIS, len(scores))

    def difference(self, runs: Sequence[StudentRun], control: Sequence[StudentRun]) -> Estimate | None:
        """Return the mean difference of runs to those of the same seeds of a control; None if none has its seeds."""
        partners = {run.seeds: run for run in control}
        pairs = [(run, partners[run.seeds]) for run in runs if run.seeds in partners]
        if not pairs:
            return None
        differences = [self.of_run(run) - self.of_run(partner) for run, partner in pairs]
        low, high = interval(differences)
        if low is None or high is None:
            [(run, partner)] = pairs
            values = self.resampled(run) - self.resampled(partner)
            return Estimate(differences[0], *percentiles(values), EXAMPLES_BASIS, 1)
        return Estimate(float(np.mean(differences)), low, high, SEEDS_BASIS, len(pairs))

    def _bootstrap(self, kind: TaskKind, logits: np.ndarray) -> np.ndarray:
        metrics, dev = self.distillation.metrics, self.distillation.dev
        values = labelled(kind, logits, dev.labels)
        return bootstrap(kind, [metrics.judge], *values, metrics.classes)[metrics.judge]


def score_of(distillation: Distillation, run: StudentRun) -> float:
    """Return the score of a run by the metric that judges, as it was recorded."""
    return run.result.metrics[distillation.split][distillation.metrics.judge]


def best_of(distillation: Distillation, runs: Sequence[StudentRun]) -> StudentRun:
    """Return the run with the highest score; of equals, the first."""
    return max(runs, key=lambda run: score_of(distillation, run))


def compare(distillation: Distillation) -> Comparison:
    """Return the table: of each method and depth the best setting on average, among those of most seeds."""
    scores = Scores(distillation)
    groups: dict[tuple[str, int], dict[str, list[StudentRun]]] = {}
    for run in distillation.runs:
        settings = groups.setdefault((run.result.method, run.result.student_layers), {})
        settings.setdefault(run.setting, []).append(run)
    chosen = {
        key: max(settings.values(), key=lambda runs: (len(runs), np.mean([scores.of_run(run) for run in runs])))
        for key, settings in groups.items()
    }
    rows, has_depths = [], len({depth for _, depth in groups}) > 1
    for (method, depth), runs in chosen.items():
        control = chosen.get((CONTROL, depth))
        difference = scores.difference(runs, control) if control and method != CONTROL else None
        tried = len(groups[method, depth])
        name = METHODS[method].display_name + (f", {count(depth, 'layer')}" if has_depths else "")
        rows.append(Row(name, method, depth, tuple(runs), tried, scores.estimate(runs), difference))
    return Comparison(distillation, scores.teacher(), tuple(rows))
