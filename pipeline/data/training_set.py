"""The examples that a model is trained on: those of train and transfer together, or the labelled ones alone."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.data.batching import TRANSFER_STREAM, subset
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind
from pipeline.data.tasks import TRANSFER


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Some examples of a split. A label that is missing is an example that only a teacher says something about."""

    split: Split
    ids: np.ndarray  # int64, rising
    kind: TaskKind

    @cached_property
    def has_label(self) -> np.ndarray:
        """Whether each example of the whole split has a label: bool [len(split)]."""
        return has_label(self.split, self.kind)

    @cached_property
    def labelled(self) -> int:
        """The number of its examples with a label."""
        return int(self.has_label[self.ids].sum())

    @property
    def unlabelled(self) -> int:
        """The number of its examples without a label."""
        return len(self.ids) - self.labelled


def has_label(split: Split, kind: TaskKind) -> np.ndarray:
    """Return whether each example of a split has a label, bool [n]. Labels of parts without any are not read."""
    return np.concatenate(
        [
            np.asarray(kind.has_label(part.labels)) if part.labelled else np.zeros(len(part), bool)
            for part in split.parts
        ]
    )


def labels_of(split: Split, kind: TaskKind) -> np.ndarray:
    """Return the labels of the examples that have one, [n]."""
    return split.labels[kind.has_label(split.labels)]


def draw_training_set(
    split: Split,
    kind: TaskKind,
    data_seed: int,
    max_train_examples: int = 0,
    max_transfer_examples: int = 0,
    labelled_only: bool = False,
) -> TrainingSet:
    """Return the examples to train on, drawn with `data_seed` where there are more than allowed (0: all).

    The examples of train and of transfer are drawn apart. With `labelled_only`, those drawn without a label are left
    out then, so that every method sees the same labels.
    """
    transfer = sum(len(part) for part in split.parts if part.name == TRANSFER)
    train = len(split) - transfer
    ids = subset(train, max_train_examples, data_seed)
    if transfer:
        ids = np.concatenate((ids, train + subset(transfer, max_transfer_examples, data_seed, TRANSFER_STREAM)))
    if labelled_only:
        ids = ids[has_label(split, kind)[ids]]
    return TrainingSet(split, ids, kind)
