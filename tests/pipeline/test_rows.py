"""Gathering rows: whatever the ids, their order and the shards, what plain indexing gives."""

import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealing import write_cache

from pipeline.batching import collate
from pipeline.cache.reader import open_cache
from pipeline.cache.shards import LocalSource
from pipeline.errors import BadCache
from pipeline.examples import Split

ROWS = 53
COLUMNS = ("example_id", "row_hash", "label", "logits", "cls_01", "cls_02")


@pytest.fixture(scope="module", params=["arrow", "hdf5"])
def split(request, tmp_path_factory) -> Split:
    path = tmp_path_factory.mktemp(request.param) / "cache"
    write_cache(path, request.param, {"train": ROWS}, shard_rows=8)
    return open_cache(path).splits["train"]


@settings(max_examples=200, deadline=None)
@given(ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=70))
def test_any_ids_in_any_order(split, ids):
    rows = split.rows(np.array(ids))
    for name in COLUMNS:
        expected = np.concatenate([np.asarray(shard[name]) for shard in split.shards])[ids]
        assert np.array_equal(rows.gather(name), expected) and rows.gather(name).dtype == expected.dtype
        out = np.empty_like(expected)
        assert np.array_equal(rows.gather(name, out), expected) and np.array_equal(out, expected)
    tokens = [row for shard in split.shards for row in (shard["input_ids"][n] for n in range(len(shard["input_ids"])))]
    gathered = rows.ragged("input_ids")
    assert len(gathered) == len(ids)
    assert all(np.array_equal(gathered[place], tokens[example]) for place, example in enumerate(ids))


@pytest.mark.parametrize("ids", [[ROWS], [-1], [0, ROWS + 5], []])
def test_an_id_that_is_none_is_never_clipped(split, ids):
    for use in (split.rows, lambda some: split.gather("logits", some), lambda some: collate(split, some, 0)):
        with pytest.raises(IndexError, match="0 to 52"):
            use(np.array(ids, np.int64))


def test_prefetching_asks_for_these_rows_and_changes_none(tmp_path, monkeypatch):
    write_cache(tmp_path / "cache", "arrow", {"train": 3000}, shard_rows=1024, hidden=768)
    split = open_cache(tmp_path / "cache").splits["train"]
    ids = np.array([5, 1023, 1024, 2999])
    expected = split.gather("cls_02", ids)
    asked = []
    mapped = LocalSource._map

    class Watched:
        def __init__(self, mapping, shard):
            self.mapping, self.shard = mapping, shard

        def madvise(self, option, start, length):
            asked.append((option, self.shard.file, start, length))
            self.mapping.madvise(option, start, length)

    def watch(self, shard):
        found = mapped(self, shard)
        if not isinstance(self._mappings[shard.file], Watched):
            self._mappings[shard.file] = Watched(self._mappings[shard.file], shard)
        return found

    monkeypatch.setattr(LocalSource, "_map", watch)
    split.prefetch(["cls_02"], ids)
    assert np.array_equal(split.gather("cls_02", ids), expected)
    wanted = [entry for entry in asked if entry[0] == mmap.MADV_WILLNEED]
    assert len(wanted) == len(ids) and sum(entry[0] == mmap.MADV_RANDOM for entry in asked) == 3
    for example, (_, file, start, length) in zip(ids, wanted, strict=True):
        shard = split.shards[example // 1024]
        place = shard.record.parts["cls_02"].offset + (example % 1024) * 768 * 2
        assert file == shard.record.file and start <= place and start + length >= place + 768 * 2
        assert start % mmap.PAGESIZE == 0 and length < 768 * 2 + mmap.PAGESIZE


def test_the_text_of_a_row_that_belongs_to_others(split):
    rows = split.rows(np.array([3, 4]))
    hashes = [bytes(16), bytes(16)]
    stored = split.gather("row_hash", np.array([3]))[0].tobytes().hex()
    with pytest.raises(BadCache) as refused:
        rows.check(hashes)
    assert str(refused.value) == (
        f"split train, example 3: the stored row belongs to other tokens (example_id 3, row_hash {stored}, "
        f"expected {'0' * 32}). The cache is damaged: see python cli.py cache verify --help"
    )
