"""The metrics of a task: what its models are judged and compared by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.data.metrics import agreement, check_metric, measure
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind, kind_of_model
from pipeline.errors import BadOption, one_line

MCC_ERRORS = 3  # standard errors above 0 from which a correlation is not chance


@dataclass(frozen=True)
class TaskMetrics:
    """The metrics of a task: `names`, the first of which judges, on labels of `classes`."""

    kind: TaskKind
    names: tuple[str, ...]
    classes: tuple[str, ...]  # empty where the kind does not have classes

    @property
    def judge(self) -> str:
        """The metric that decides which weights and trials are best."""
        return self.names[0]

    def judged_by(self, name: str | None) -> "TaskMetrics":
        """Return the metrics with this one first; unchanged for None. Raises `BadOption` for one that does not fit."""
        if name is None:
            return self
        try:
            check_metric(self.kind, self.classes, name)
        except ValueError as error:
            raise BadOption(f"--metric: {one_line(error, 400)}") from error
        return replace(self, names=tuple(dict.fromkeys((name, *self.names))))

    def of_model(self, config: Any) -> "TaskMetrics":
        """Return the metrics of a model with this configuration. Raises ValueError for settings that cannot be."""
        return replace(self, kind=kind_of_model(self.kind, config))

    def tuned(self, logits: np.ndarray, labels: np.ndarray) -> "TaskMetrics":
        """Return the metrics of the model that has these logits on the dev split: its threshold is chosen there."""
        return replace(self, kind=self.kind.tuned(logits, labels))

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return each metric of the predictions of these logits [n, C]."""
        if not (labelled := self.kind.has_label(labels)).all():
            logits, labels = logits[labelled], labels[labelled]
        return measure(self.kind, self.names, logits, labels, self.classes)

    def measure_splits(
        self, logits: Mapping[str, np.ndarray], splits: Mapping[str, Split]
    ) -> dict[str, dict[str, float]]:
        """Return the metrics of each labelled split from the logits [n, C] of all its examples."""
        return {
            name: self.measure(values, splits[name].labels) for name, values in logits.items() if splits[name].labelled
        }

    def agreements(
        self, logits: Mapping[str, np.ndarray], splits: Mapping[str, Split], teachers_kind: TaskKind
    ) -> dict[str, float]:
        """Return the agreement of these logits with the teacher's, in each split of a cache."""
        return {
            name: agreement(self.kind, values, splits[name].column("logits"), teachers_kind)
            for name, values in logits.items()
        }

    def score(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """Return the metric that judges."""
        return replace(self, names=(self.judge,)).measure(logits, labels)[self.judge]

    def constant_scores(self, labels: np.ndarray, num_logits: int) -> list[float]:
        """Return the score of each constant prediction, of the most frequent label first; none without any."""
        constants = (np.asarray(constant)[None] for constant in self.kind.constants(labels, num_logits))
        return [
            self.score(self.kind.as_logits(np.repeat(constant, len(labels), 0), num_logits), labels)
            for constant in constants
        ]

    def weakness(self, logits: np.ndarray, labels: np.ndarray) -> str | None:
        """Return in what a model does not beat a constant prediction; None for one that does.

        By an error that no metric sees; by the judge; or by another metric in which no guess is better, or by a
        correlation (MCC) that is not chance: a useful model of a rare class may have fewer rows right than the most
        frequent class alone. Labels of one class do not say anything.
        """
        if (miss := self.kind.misses(logits, labels)) is not None:
            return miss
        constants, reached = self.constant_scores(labels, logits.shape[1]), self.score(logits, labels)
        constant = max(constants, default=-math.inf)
        if reached > constant or (labels == labels[0]).all() or self._is_useful(logits, labels):
            return None
        always = "the most frequent label alone" if constants[0] == constant else "the best constant prediction"
        return f"{self.judge} is {reached:.3f}, and {always} gives {constant:.3f}"

    def _is_useful(self, logits: np.ndarray, labels: np.ndarray) -> bool:
        num_logits = logits.shape[1]
        for name, times in self.kind.guess_proof_metrics.items():
            metrics = replace(self, names=(name,))
            if metrics.score(logits, labels) > times * max(metrics.constant_scores(labels, num_logits)):
                return True
        if "matthews_correlation" not in self.kind.metrics(num_logits):
            return False
        correlation = replace(self, names=("matthews_correlation",)).score(logits, labels)
        return correlation > MCC_ERRORS / math.sqrt(len(labels))
