"""Columns on disk instead of in memory."""

import os

import numpy as np

from pipeline.data.ragged import Ragged
from pipeline.data.spool import Spool


def test_kept_columns_are_the_same_and_leave_no_file(tmp_path):
    tokens = Ragged.from_lists([[1, 2, 3], [4]], np.int32)
    columns = {"row_hash": np.arange(32, dtype=np.uint8).reshape(2, 16), "input_ids": tokens, "label": np.ones(2)}
    opened = len(os.listdir("/proc/self/fd"))
    kept = Spool(tmp_path / "not" / "there" / "yet").keep(columns)
    assert list(tmp_path.iterdir()) == [] and len(os.listdir("/proc/self/fd")) == opened
    assert list(kept) == list(columns)
    for name in ("row_hash", "label"):
        assert kept[name].dtype == columns[name].dtype and (kept[name] == columns[name]).all()
    assert kept["input_ids"].values.tolist() == [1, 2, 3, 4] and kept["input_ids"].offsets.tolist() == [0, 3, 4]
    assert not kept["label"].flags.writeable


def test_columns_without_values_are_kept(tmp_path):
    kept = Spool(tmp_path / "cache").keep({"text": Ragged.from_lists([[], []], np.uint8), "label": np.zeros(2)})
    assert len(kept["text"]) == 2 and kept["text"].values.size == 0
