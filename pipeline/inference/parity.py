"""Comparison of an exported model with its run: their logits on the same examples, and what follows from them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from pipeline.data.batching import by_length, collate
from pipeline.data.metrics import agreement
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind
from pipeline.data.task_metrics import TaskMetrics
from pipeline.inference.forward import Forward, Inputs
from pipeline.inference.latency import measure_latency
from pipeline.models.inputs import SEGMENTS
from pipeline.system.progress import bar

Logits = Mapping[str, np.ndarray]  # of the examples of each split: float32 [n, C]
_BATCH = 64  # sequences
_TURNS = 3


@dataclass(frozen=True)
class Examples:
    """Some examples of some splits: `ids` has those of each. `segments` is whether the model takes segment ids."""

    splits: Mapping[str, Split]
    ids: Mapping[str, np.ndarray]
    metrics: TaskMetrics
    pad_id: int
    segments: bool

    @classmethod
    def spaced(
        cls, splits: Mapping[str, Split], limit: int, metrics: TaskMetrics, pad_id: int, segments: bool
    ) -> "Examples":
        """Return `limit` evenly spaced examples of each split; all if limit is 0."""
        counts = {name: min(limit or len(split), len(split)) for name, split in splits.items()}
        ids = {name: np.arange(count) * len(splits[name]) // count for name, count in counts.items()}
        has_segments = segments and all(split.has_token_types for split in splits.values())
        return cls(splits, ids, metrics, pad_id, has_segments)

    def __len__(self) -> int:
        return sum(map(len, self.ids.values()))

    def inputs(self, split: str, ids: np.ndarray) -> Inputs:
        """Return the inputs of these examples of a split, padded to the longest."""
        inputs = collate(self.splits[split], ids, self.pad_id).inputs
        return {name: tensor for name, tensor in inputs.items() if name != SEGMENTS or self.segments}

    def typical(self, count: int) -> Inputs:
        """Return a batch of `count` examples of about the median length, the same one several times where few are."""
        name = next(iter(self.splits))
        ids, lengths = self.ids[name], self.splits[name].lengths[self.ids[name]]
        nearest = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")[:count]
        return self.inputs(name, np.sort(np.resize(ids[nearest], count)))

    def logits(self, forward: Forward, description: str) -> Logits:
        """Return the logits of a model, float32 [n, C] for each split; longest examples first, with a bar."""
        results = {}
        with bar(len(self), description, "ex") as progress:
            for name, ids in self.ids.items():
                split = self.splits[name]
                batches = by_length(np.arange(len(ids)), split.lengths[ids], split.examples_in(_BATCH))
                values = []
                for places in batches:
                    values.append(forward(self.inputs(name, ids[places])))
                    progress.update(len(places))
                results[name] = np.concatenate(values)[np.argsort(np.concatenate(batches))]
        return results

    def joined(self, logits: Logits) -> np.ndarray:
        """Return the logits of all splits in one array, [n, C]."""
        return np.concatenate([logits[name] for name in self.splits])

    def measure(self, logits: Logits) -> dict[str, dict[str, float]]:
        """Return the metrics of each split with labels."""
        labels = {name: self.splits[name].column("label")[ids] for name, ids in self.ids.items()}
        return {
            name: self.metrics.measure(logits[name], values)
            for name, values in labels.items()
            if self.metrics.kind.has_label(values).any()
        }


@dataclass(frozen=True)
class Parity:
    """An export beside its run, by split: metrics of both; over all examples: agreement, largest difference of logits.

    Agreement is by the measure of the kind of task: the share of equal labels, micro-F1, or the correlation of scores.
    """

    examples: int
    metrics_before: dict[str, dict[str, float]]
    metrics_after: dict[str, dict[str, float]]
    agreement: float
    max_difference: float

    @classmethod
    def between(cls, examples: Examples, before: Logits, after: Logits) -> "Parity":
        """Return what two sets of finite logits of the examples have in common."""
        reference, exported = (examples.joined(logits) for logits in (before, after))
        return cls(
            len(examples),
            examples.measure(before),
            examples.measure(after),
            agreement_of(examples.metrics.kind, exported, reference),
            float(np.abs(exported - reference).max()),
        )


def agreement_of(kind: TaskKind, exported: np.ndarray, reference: np.ndarray) -> float:
    """Return the agreement of two models; 1 for equal predictions, of which a correlation or F1 may say nothing.

    It is 0 for an export whose logits are not finite.
    """
    if not np.isfinite(exported).all():
        return 0.0
    if np.array_equal(kind.predictions(exported), kind.predictions(reference)):
        return 1.0
    return agreement(kind, exported, reference)


def speeds(examples: Examples, before: Forward, after: Forward, batches: Iterable[int]) -> dict[str, dict[str, float]]:
    """Return the examples per second of both models by batch size, on examples of the median length, in turns."""
    results = {}
    for count in batches:
        inputs = examples.typical(count)
        taken: dict[str, list[float]] = {"before": [], "after": []}
        for _ in range(_TURNS):
            for side, forward in (("before", before), ("after", after)):
                taken[side].append(_latency(partial(forward, inputs)))
        results[str(count)] = {side: round(1000 * count / median(values), 2) for side, values in taken.items()}
    return results


def _latency(run_once: Callable[[], object]) -> float:
    """Return the median milliseconds of a few calls."""
    return measure_latency(run_once, warmup=1, calls=10, seconds=1.0, fewest=1).median
