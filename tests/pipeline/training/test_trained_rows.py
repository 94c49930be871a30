"""Rows that are no longer those of a run."""

from dataclasses import replace

import numpy as np

from pipeline.data.ragged import Ragged
from pipeline.data.splits import Split, rows_digest
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.training.trained_rows import changed_splits


def split(labels, name="dev") -> Split:
    count = len(labels)
    shard = {
        "example_id": np.arange(count),
        "row_hash": np.zeros((count, 16), np.uint8),
        "input_ids": Ragged.from_lists([[2, 3]] * count, np.int32),
        "label": np.array(labels),
    }
    return Split(name, [shard], True)


def test_changed_labels_are_found_and_unknown_splits_are_not_compared():
    dev = split([0, 1])
    record = {"inputs": {"dev": rows_digest(dev.shards[0])}}
    assert changed_splits(record, {"dev": dev, "test": dev}, SINGLE_LABEL) == []
    assert changed_splits(record, {"dev": split([1, 0]), "test": replace(dev)}, SINGLE_LABEL) == ["dev"]
    assert changed_splits({}, {"dev": dev}, SINGLE_LABEL) == []


def test_training_rows_without_a_label_are_not_compared():
    record = {"inputs": {"train": rows_digest(split([0, 1]).shards[0])}}
    assert changed_splits(record, {"train": split([0, -1, 1, -1], "train")}, SINGLE_LABEL) == []
    assert changed_splits(record, {"train": split([0, -1, 0], "train")}, SINGLE_LABEL) == ["train"]
