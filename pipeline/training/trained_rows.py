"""The rows that a run was trained with: whether those at hand are still the same."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.data.kinds.task_kind import OTHER_CLASS
from pipeline.data.splits import Split, rows_digest
from pipeline.data.task_kinds import TaskKind
from pipeline.data.tasks import TRAIN
from pipeline.data.texts import without_texts


def changed_splits(record: Mapping[str, Any], splits: Mapping[str, Split], kind: TaskKind) -> list[str]:
    """Return the splits whose tokens or labels are not those in the record of a teacher's run.

    A teacher is trained on the training rows with a label.
    """
    inputs = record.get("inputs", {})
    return [name for name, split in splits.items() if name in inputs and inputs[name] != _digest(split, kind)]


def _digest(split: Split, kind: TaskKind) -> str:
    """Return the digest of a split of one shard, without the training rows that do not have a label."""
    (columns,) = split.shards
    label = np.asarray(columns["label"])
    trained = kind.has_label(label) if split.name == TRAIN else np.ones(len(split), bool)
    if label.ndim == 1:
        trained = trained | (label == OTHER_CLASS)  # the run was not trained with such a row: the digest differs
    columns = without_texts(columns)
    if trained.all():
        return rows_digest(columns)
    kept = {name: column[trained] for name, column in columns.items() if isinstance(column, np.ndarray)}
    return rows_digest(kept | {"example_id": np.arange(trained.sum())})
