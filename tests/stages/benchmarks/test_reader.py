"""All ways that are compared read the same rows; none of them is timed here."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import transformers

from pipeline.cache.format.columns import cls_column
from pipeline.cache.open import open_cache
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.batching import BatchOrder
from pipeline.errors import BadCache
from stages.benchmarks import reader
from stages.benchmarks.contenders import reader_contenders
from stages.benchmarks.harness.synthetic import synthetic_cache
from tests.helpers.paths import ROOT

ROWS, SHARD, LAYERS = 700, 200, (1, 3)
NAMES = ["example_id", *map(cls_column, LAYERS)]
LENGTHS = np.random.default_rng(0).integers(3, 30, ROWS)
IDS = np.array([0, 5, 199, 200, 201, 402, 600, 699])  # of all four shards


def shape() -> transformers.BertConfig:
    return transformers.BertConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, num_labels=3
    )


@pytest.fixture(scope="module")
def caches(tmp_path_factory) -> dict[str, str]:
    """The same rows in both containers; every row of a column differs."""
    directory = tmp_path_factory.mktemp("reader")
    for container in ("arrow", "hdf5"):
        synthetic_cache(directory / container, shape(), LENGTHS, container=container, shard_rows=SHARD)
    return {container: str(directory / container) for container in ("arrow", "hdf5")}


@pytest.fixture(scope="module")
def expected(caches) -> dict[str, np.ndarray]:
    split = open_cache(caches["arrow"]).splits["train"]
    return {name: split.whole(name)[IDS] for name in NAMES}


def same(found, expected) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert np.array_equal(np.asarray(found[name]), values), name


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
def test_the_reader_and_a_plain_mapping_read_these_rows(caches, expected, container):
    same(reader_contenders.cache_gather(open_cache(caches[container]).splits["train"], NAMES)(IDS), expected)
    same(reader_contenders.mapped_gather(caches[container], NAMES)(IDS), expected)


@pytest.mark.parametrize("gather", [reader_contenders.datasets_gather, reader_contenders.own_datasets_gather])
def test_datasets_reads_these_rows_and_these_columns_alone(caches, expected, gather):
    same(gather(caches["arrow"], NAMES, ROWS)(IDS), expected)


@pytest.mark.parametrize("chunked", [True, False])
def test_h5py_reads_these_rows(caches, expected, tmp_path, chunked):
    reader_contenders.write_h5py(tmp_path / "a.h5", caches["arrow"], NAMES, ROWS, chunked)
    gather, rows = reader_contenders.h5py_gather(str(tmp_path / "a.h5"), NAMES)
    same(gather(IDS), expected)
    assert rows == ROWS
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["cls_01"].chunks == ((64, 32) if chunked else None)


def test_fewer_rows_are_the_first_ones(caches, tmp_path):
    reader_contenders.write_h5py(tmp_path / "a.h5", caches["arrow"], NAMES, 300, False)
    gather, rows = reader_contenders.h5py_gather(str(tmp_path / "a.h5"), NAMES)
    assert rows == 300 and gather(np.array([0, 299]))["example_id"].tolist() == [0, 299]


def test_batches_hold_every_row_once_and_differ_by_epoch():
    first, second = (reader_contenders.batches_of(ROWS, LENGTHS, epoch) for epoch in (0, 1))
    assert sorted(np.concatenate(first).tolist()) == list(range(ROWS))
    assert all((np.diff(ids) > 0).all() for ids in first)
    assert [ids.tolist() for ids in first] != [ids.tolist() for ids in second]


def test_a_turn_counts_the_rows_that_it_read():
    read = []
    run = reader_contenders.repeated(
        "rows", lambda ids: read.append(ids.tolist()) or {}, [np.arange(3), np.arange(3, 5)]
    )
    assert run(3)["rows"][0] == 8 and run(1)["rows"][0] == 2
    assert read == [[0, 1, 2], [3, 4], [0, 1, 2], [3, 4]]


def test_a_unit_is_so_many_batches():
    assert reader_contenders.repeated("rows", lambda ids: {}, [np.arange(3)], unit=4)(2)["rows"][0] == 24


def test_the_other_run_has_batches_as_long_as_the_first_of_the_large_cache():
    lengths = np.arange(10, 10 + reader.STEPS * reader.TRAINED_BATCH)
    assert reader.longest_at_first(lengths) == lengths.max()
    lengths = np.random.default_rng(0).integers(3, 128, 50_000)
    first = BatchOrder(np.arange(50_000), lengths, reader.TRAINED_BATCH, 0).epoch(0)[0]
    assert lengths[first].max() <= reader.longest_at_first(lengths) < 128


def test_the_copy_is_whole():
    amount, seconds = reader_contenders.memory_copy()(2)[reader_contenders.COPY]
    assert amount == 2 * reader_contenders.COPY_BYTES and seconds > 0


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="only Linux takes pages out of memory on request")
@pytest.mark.parametrize("build", [reader_contenders.cold_cache, reader_contenders.cold_mapped])
def test_a_cold_turn_reads_the_first_tenth_and_can_be_repeated(caches, build):
    lengths = LENGTHS
    run = build(caches["arrow"], LAYERS, lengths, 10.0)
    for epoch in (0, 1):
        rows = len(reader_contenders.first_tenth(lengths, epoch)[0])
        assert {done for done, _ in run(epoch).values()} == {rows}


def test_eviction_leaves_the_bytes(caches):
    files = reader_contenders.files_of(caches["arrow"])
    before = [file.read_bytes() for file in files]
    assert any(file.suffix == ".arrow" for file in files)
    reader_contenders.evict(files)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("cold", [False, True])
def test_opening_times_the_first_batch_too(caches, cold):
    measured = reader_contenders.opening(caches["arrow"], LAYERS, cold)(1)
    state = "cold" if cold else "warm"
    opened, first = measured[f"opened, {state}"][0], measured[f"first batch, {state}"][0]
    assert 0 < opened < first


def test_private_memory_is_that_of_the_process():
    grow = (
        "import os, numpy as np; from stages.benchmarks.reader import private_kilobytes as of\n"
        "before = of(os.getpid()); kept = np.ones(50_000_000, np.uint8); print(of(os.getpid()) - before)"
    )
    grown = int(subprocess.run([sys.executable, "-c", grow], cwd=ROOT, capture_output=True, check=True).stdout)
    assert 45_000 < grown < 75_000
    assert reader.private_kilobytes(2**22 + 1) == 0


def test_a_failed_run_is_told(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)^train-student failed: .*nothing"):
        reader.peak_of_training(str(tmp_path / "nothing"), tmp_path / "run", tmp_path / "store")


def test_no_room_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MNLI_ROWS", 10**9)
    with pytest.raises(BadCache, match="are free there"):
        reader.write_caches(tmp_path, BenchmarkConfig(name="reader", lengths="rte"))
    assert not any(tmp_path.iterdir())


def test_measured_end_to_end_on_few_rows(tmp_path, monkeypatch):
    """Every demand of the issue has its ratio, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(reader, "QUICK_ROWS", 2000)
    monkeypatch.setattr(reader, "_pace", lambda config: reader.Pace(1, 0.01))
    report = reader.measure(BenchmarkConfig(name="reader", model="demo", quick=True, rounds=1))
    asked = {ratio.what: ratio.at_least or ratio.at_most for ratio in report.ratios if ratio.holds is not None}
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
