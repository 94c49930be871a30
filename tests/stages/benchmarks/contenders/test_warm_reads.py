"""All ways that are compared read the same rows; none of them is timed here."""

import h5py
import numpy as np
import pytest
import transformers

from pipeline.cache.format.columns import cls_column
from pipeline.cache.open import open_cache
from stages.benchmarks.contenders import cold_reads, random_reads, warm_reads
from stages.benchmarks.harness.synthetic import synthetic_cache

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
    return {name: split.column(name)[IDS] for name in NAMES}


def same(found, expected) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert np.array_equal(np.asarray(found[name]), values), name


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
def test_cache_reader_and_plain_mapping_read_the_same_rows(caches, expected, container):
    same(random_reads.cache_gather(open_cache(caches[container]).splits["train"], NAMES)(IDS), expected)
    same(cold_reads.mapped_gather(caches[container], NAMES)(IDS), expected)


@pytest.mark.parametrize("gather", [warm_reads.datasets_gather, warm_reads.own_datasets_gather])
def test_datasets_reads_the_same_rows_and_columns(caches, expected, gather):
    same(gather(caches["arrow"], NAMES, ROWS)(IDS), expected)


@pytest.mark.parametrize("chunked", [True, False])
def test_h5py_reads_the_same_rows(caches, expected, tmp_path, chunked):
    warm_reads.write_h5py(tmp_path / "a.h5", caches["arrow"], NAMES, ROWS, chunked)
    gather, rows = warm_reads.h5py_gather(str(tmp_path / "a.h5"), NAMES)
    same(gather(IDS), expected)
    assert rows == ROWS
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["cls_01"].chunks == ((64, 32) if chunked else None)


def test_h5py_file_of_fewer_rows_holds_the_first(caches, tmp_path):
    warm_reads.write_h5py(tmp_path / "a.h5", caches["arrow"], NAMES, 300, False)
    gather, rows = warm_reads.h5py_gather(str(tmp_path / "a.h5"), NAMES)
    assert rows == 300 and gather(np.array([0, 299]))["example_id"].tolist() == [0, 299]
