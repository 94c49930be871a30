"""The examples that a model is trained on."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.joined_split import join_splits
from pipeline.data.task_kinds import REGRESSION, SINGLE_LABEL
from pipeline.data.training_set import draw_training_set, labels_of
from tests.helpers.splits import random_split


def mixed():
    """Train: 40 examples, every second with a label; transfer: 60 without."""
    train, transfer = random_split("train", 25, 15), random_split("transfer", 60, seed=1)
    for shard in train.shards:
        shard["label"][::2] = -1
    transfer.shards[0]["label"][:] = -1
    return join_splits([train, replace(transfer, labelled=False)])


@pytest.mark.parametrize("limits", [(0, 0), (10, 7), (99, 99)])
@pytest.mark.parametrize("labelled_only", [False, True])
def test_counts_and_draws(limits, labelled_only):
    examples = draw_training_set(mixed(), SINGLE_LABEL, 3, *limits, labelled_only=labelled_only)
    every = draw_training_set(mixed(), SINGLE_LABEL, 3, *limits)
    assert (np.diff(every.ids) > 0).all()
    assert every.labelled + every.unlabelled == min(limits[0] or 40, 40) + min(limits[1] or 60, 60)
    labelled = every.ids[every.has_label[every.ids]]
    if labelled_only:  # the same labels as every other method reads
        assert examples.ids.tolist() == labelled.tolist() and examples.unlabelled == 0
    assert examples.labelled == len(labelled) and (labelled < 40).all()


def test_draw_of_train_does_not_depend_on_the_transfer_set():
    def drawn(limit):
        return draw_training_set(mixed(), SINGLE_LABEL, 0, 10, limit).ids

    assert drawn(5)[:10].tolist() == drawn(50)[:10].tolist()
    assert set(drawn(5)[10:]) < set(drawn(50)[10:])  # a larger transfer set holds the smaller one


def test_labels_of_the_labelled_rows():
    scores = random_split("train", 4)
    scores.shards[0]["label"] = np.array([1.5, np.nan, -1.0, np.nan], np.float32)
    assert labels_of(scores, REGRESSION).tolist() == [1.5, -1.0]
    assert draw_training_set(scores, REGRESSION, 0, labelled_only=True).ids.tolist() == [0, 2]
