"""Benchmark `reader` as a whole, on few rows."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.batching import BatchOrder
from pipeline.errors import BadCache
from stages.benchmarks import reader
from stages.benchmarks.harness.timing import Contender


def test_longest_at_first_is_the_longest_of_the_first_batches():
    lengths = np.arange(10, 10 + reader.STEPS * reader.TRAINED_BATCH)
    assert reader.longest_at_first(lengths) == lengths.max()
    lengths = np.random.default_rng(0).integers(3, 128, 50_000)
    first = BatchOrder(np.arange(50_000), lengths, reader.TRAINED_BATCH, 0).epoch(0)[0]
    assert lengths[first].max() <= reader.longest_at_first(lengths) < 128


def test_reader_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MNLI_ROWS", 10**9)
    with pytest.raises(BadCache, match="are free there"):
        reader.write_caches(tmp_path, BenchmarkConfig(name="reader", lengths="rte"))
    assert not any(tmp_path.iterdir())


@pytest.fixture
def contenders_in_this_process(monkeypatch):
    """A process for each of them, which imports all libraries first, is what test_timing.py tests."""

    def enter(contender):
        contender.turn = contender._build(*contender._arguments)
        return contender

    monkeypatch.setattr(Contender, "__enter__", enter)
    monkeypatch.setattr(Contender, "__call__", lambda contender, work: contender.turn(work))
    monkeypatch.setattr(Contender, "__exit__", lambda *_: None)


@pytest.mark.soak
@pytest.mark.process
def test_reader_reports_every_limit_and_leaves_nothing_behind(tmp_path, monkeypatch, contenders_in_this_process):
    """Every demand of the issue has its ratio, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(reader, "QUICK_ROWS", 500)
    monkeypatch.setattr(reader, "_pace", lambda config: reader.Pace(1, 0.01))
    report = reader.measure(BenchmarkConfig(name="reader", model="demo", quick=True, rounds=1))
    asked = {ratio.name: ratio.at_least or ratio.at_most for ratio in report.ratios if ratio.holds is not None}
    assert asked == {
        "bytes/s gathered, Arrow / memory copy": 0.25,
        "bytes/s gathered, HDF5 / memory copy": 0.25,
        "rows/s / datasets, its own file": 50,
        "rows/s / h5py, chunked": 100,
        "rows/s cold / plain mmap": 4,
        "opened, warm": 0.5,
        "opened, cold": 0.5,
        "private memory, large / small cache": 1.1,
    }
    assert not any(Path("data").iterdir())
