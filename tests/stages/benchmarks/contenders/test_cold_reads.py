"""Cold reads start from files that are not in memory."""

import os

import numpy as np
import pytest
import transformers

from stages.benchmarks.contenders import cold_reads
from stages.benchmarks.harness.synthetic import synthetic_cache

ROWS, SHARD, LAYERS = 700, 200, (1, 3)
LENGTHS = np.random.default_rng(0).integers(3, 30, ROWS)


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


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="only Linux takes pages out of memory on request")
@pytest.mark.parametrize("build", [cold_reads.cold_cache, cold_reads.cold_mapped])
def test_cold_turn_reads_the_first_tenth_of_each_epoch(caches, build):
    lengths = LENGTHS
    run = build(caches["arrow"], LAYERS, lengths, 10.0)
    for epoch in (0, 1):
        rows = len(cold_reads.first_tenth(lengths, epoch)[0])
        assert {done for done, _ in run(epoch).values()} == {rows}


def test_eviction_keeps_the_bytes_on_disk(caches):
    files = cold_reads.files_of(caches["arrow"])
    before = [file.read_bytes() for file in files]
    assert any(file.suffix == ".arrow" for file in files)
    cold_reads.evict(files)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("cold", [False, True])
def test_opening_also_times_the_first_batch(caches, cold):
    measured = cold_reads.opening(caches["arrow"], LAYERS, cold)(1)
    state = "cold" if cold else "warm"
    opened, first = measured[f"opened, {state}"][0], measured[f"first batch, {state}"][0]
    assert 0 < opened < first
