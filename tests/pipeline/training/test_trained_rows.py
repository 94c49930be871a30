"""Rows that are no longer those of a run."""

from dataclasses import replace

import numpy as np

from pipeline.data.ragged import Ragged
from pipeline.data.splits import Split, rows_digest
from pipeline.training.trained_rows import changed_splits


def split(labels) -> Split:
    count = len(labels)
    shard = {
        "example_id": np.arange(count),
        "row_hash": np.zeros((count, 16), np.uint8),
        "input_ids": Ragged.from_lists([[2, 3]] * count, np.int32),
        "label": np.array(labels),
    }
    return Split("dev", [shard], True)


def test_changed_labels_are_found_and_unknown_splits_are_not_compared():
    dev = split([0, 1])
    record = {"inputs": {"dev": rows_digest(dev.shards[0])}}
    assert changed_splits(record, {"dev": dev, "test": dev}) == []
    assert changed_splits(record, {"dev": split([1, 0]), "test": replace(dev)}) == ["dev"]
    assert changed_splits({}, {"dev": dev}) == []
