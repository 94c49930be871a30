"""Columns on disk instead of in memory."""

import os
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.ragged import Ragged
from pipeline.data.spool import Spool
from pipeline.errors import BadCache


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


def test_columns_are_kept_in_the_directory_itself_where_it_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    assert Spool(tmp_path / "cache").directory == tmp_path / "cache"  # it may be another disk than the one above
    monkeypatch.setattr("os.access", lambda place, _: place != tmp_path / "cache")
    assert Spool(tmp_path / "cache").directory == tmp_path
    monkeypatch.setattr("os.access", lambda *_: False)  # a finished cache that others own, say
    assert Spool(tmp_path / "cache").directory == Path(tempfile.gettempdir())


@pytest.fixture
def small_files():
    """No file of this process is longer than 1,000 bytes. Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_disk_that_refuses_the_rows_is_named(tmp_path, small_files):
    with pytest.raises(BadCache) as error:
        Spool(tmp_path / "cache").keep({"label": np.zeros(2000)})
    assert str(error.value) == (
        f"{tmp_path} cannot take the rows that were read (File too large). Make room there, or name another --cache, "
        "then run the same command again"
    )
