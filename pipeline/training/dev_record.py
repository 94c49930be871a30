"""The record in run.json of how certain a run's metrics are."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.data.evaluation import labelled
from pipeline.data.intervals import intervals
from pipeline.data.splits import Split
from pipeline.data.task_metrics import TaskMetrics


def dev_record(metrics: TaskMetrics, logits: Mapping[str, np.ndarray], splits: Mapping[str, Split]) -> dict[str, Any]:
    """Return the settings of the predictions, and of each labelled split its size and the intervals of its metrics.

    `metrics` have the settings, `logits` [n, C] are of all examples of the splits.
    """
    chosen = {name: split for name, split in splits.items() if split.labelled and name in logits}
    kind = metrics.kind
    return {
        "settings": dict(kind.settings),
        "dev_examples": {name: len(split) for name, split in chosen.items()},
        "intervals": {
            name: intervals(kind, metrics.names, *labelled(kind, logits[name], split.labels), metrics.classes)
            for name, split in chosen.items()
        },
    }
