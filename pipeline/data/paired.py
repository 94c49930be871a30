"""Two models on the same examples: the difference of a metric, and McNemar's test."""

from dataclasses import dataclass

import numpy as np

from pipeline.data.evaluation import labelled
from pipeline.data.intervals import Interval, McNemar, bootstrap, mcnemar, percentiles
from pipeline.data.metrics import measure
from pipeline.data.task_metrics import TaskMetrics


@dataclass(frozen=True)
class PairedDifference:
    """The metric of one model minus that of another, with its paired 95 % bootstrap interval over the examples.

    `test` is None for a kind of task without right and wrong answers.
    """

    metric: str
    difference: float
    interval: Interval
    test: McNemar | None


def paired_difference(
    metrics: TaskMetrics,
    logits: np.ndarray,
    reference_metrics: TaskMetrics,
    reference_logits: np.ndarray,
    labels: np.ndarray,
) -> PairedDifference:
    """Return the difference of a model to the reference, from the logits [n, C] of both, in the reference's judge.

    Both have the same classes; their kinds can have other settings. At least one of the n examples has a label.
    """
    judge, scores, resampled, right = reference_metrics.judge, [], [], []
    for each, values in ((metrics, logits), (reference_metrics, reference_logits)):
        chosen, truth = labelled(each.kind, values, labels)
        scores.append(measure(each.kind, [judge], chosen, truth, each.classes)[judge])
        resampled.append(bootstrap(each.kind, [judge], chosen, truth, each.classes)[judge])
        right.append(each.kind.right_answers(chosen, truth))
    test = None if right[0] is None or right[1] is None else mcnemar(right[0], right[1])
    return PairedDifference(judge, scores[0] - scores[1], percentiles(resampled[0] - resampled[1]), test)
