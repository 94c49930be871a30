"""Gathering rows: whatever the ids, their order and the shards, what plain indexing gives."""

import mmap
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cache.open import open_cache
from pipeline.cache.shard_sources import LocalSource
from pipeline.data.batching import collate
from pipeline.data.splits import ExampleRows, Split, row_hash
from pipeline.distillation.targets import CachedTargets
from pipeline.errors import BadCache
from tests.helpers.sealing import write_cache

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


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=40))
def test_a_batch_of_any_ids(split, ids):
    batch = collate(split, np.array(ids), pad_id=77)
    for place, example in enumerate(ids):
        shard, row = split.shards[example // 8], example % 8
        tokens, types = shard["input_ids"][row], shard["token_type_ids"][row]
        padding = batch.inputs["input_ids"].shape[1] - len(tokens)
        assert batch.inputs["input_ids"][place].tolist() == [*tokens, *[77] * padding]
        assert batch.inputs["token_type_ids"][place].tolist() == [*types, *[0] * padding]
        assert batch.inputs["attention_mask"][place].tolist() == [1] * len(tokens) + [0] * padding
        assert batch.row_hashes[place] == row_hash(tokens) and batch.labels[place] == shard["label"][row]
    targets = CachedTargets(split).for_batch(batch, ("cls_02", "logits", "cls_01"))
    for name in ("cls_02", "cls_01"):
        assert np.array_equal(targets[name].numpy(), split.column(name)[ids])
    assert np.array_equal(targets["logits"].numpy(), split.column("logits")[ids])


def test_located_rows_are_those_that_were_checked(split):
    ids = np.array([3, 20])
    rows = split.rows(ids)
    ids[:] = 1
    assert rows.gather("example_id").tolist() == rows.ids.tolist() == [3, 20]
    with pytest.raises(ValueError, match="read-only"):
        rows.ids[0] = 1


class Watched:
    """A mapping that tells what it was advised."""

    def __init__(self, mapping, file, asked):
        self.mapping, self.file, self.asked = mapping, file, asked

    def advise(self, option, start, length):
        self.asked.append((option, self.file, start, length))
        self.mapping.advise(option, start, length)


@pytest.fixture
def advised(monkeypatch) -> list:
    """What mappings of shards are advised from now on."""
    asked: list = []
    mapped = LocalSource._map

    def watch(self, shard):
        data, state, mapping = mapped(self, shard)
        if not isinstance(mapping, Watched):
            self._mapped[shard.file] = data, state, Watched(mapping, shard.file, asked)
        return self._mapped[shard.file]

    monkeypatch.setattr(LocalSource, "_map", watch)
    return asked


@pytest.fixture(params=["arrow", "hdf5"])
def wide(request, tmp_path) -> Split:
    write_cache(tmp_path / "cache", request.param, {"train": 3000}, shard_rows=1024, hidden=768)
    return open_cache(tmp_path / "cache").splits["train"]


def test_prefetching_asks_for_these_rows_and_changes_none(wide, advised):
    ids = np.array([2999, 5, 1023, 1024])
    expected = wide.gather("cls_02", ids)
    wide.prefetch(["cls_02"], ids)
    assert np.array_equal(wide.gather("cls_02", ids), expected)
    wanted = [entry for entry in advised if entry[0] == mmap.MADV_WILLNEED]
    assert len(wanted) == len(ids) and sum(entry[0] == mmap.MADV_RANDOM for entry in advised) == 3
    for example, (_, file, start, length) in zip(sorted(ids), wanted, strict=True):
        shard = wide.shards[example // 1024]
        place = shard.record.parts["cls_02"].offset + (example % 1024) * 768 * 2
        assert file == shard.record.file and start <= place and start + length >= place + 768 * 2
        assert start % mmap.PAGESIZE == 0 and length < 768 * 2 + mmap.PAGESIZE


def test_what_stays_in_memory_is_asked_for_once(wide, advised, monkeypatch):
    def asked(ids) -> int:
        advised.clear()
        wide.prefetch(["cls_01", "cls_02"], np.array(ids))
        return sum(entry[0] == mmap.MADV_WILLNEED for entry in advised)

    assert [asked([5, 2000]), asked([5, 2000]), asked([5, 6, 2000])] == [4, 0, 2]
    monkeypatch.setattr("pipeline.cache.shards.memory_bytes", lambda: 2 * 3000 * 768 * 2)
    assert [asked([5, 2000]), asked([1000])] == [0, 2]  # what was settled stays settled
    wide = open_cache(wide.shards[0].source.directory).splits["train"]
    assert [asked([5, 2000]), asked([5, 2000])] == [4, 4]


def test_a_file_system_that_takes_no_advice(wide, advised, monkeypatch):
    def refuse(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(Watched, "advise", refuse)
    wide.prefetch(["cls_01"], np.array([1, 2999]))
    assert np.array_equal(wide.gather("cls_01", np.array([1, 2999])), wide.column("cls_01")[[1, 2999]])


def test_verification_reads_through_a_mapping_of_its_own(wide):
    """That of the rows is advised for reading at random, and is then read twelve times slower from end to end."""
    shard = wide.shards[1]
    (piece,) = shard.source.pieces(shard.record, ["cls_01"])
    assert not np.shares_memory(piece.data, shard.source._map(shard.record)[0])
    place = shard.record.parts["cls_01"]
    assert piece.data[place.offset : place.offset + place.bytes].tobytes() == shard["cls_01"].tobytes()


def test_a_batch_is_compared_with_the_split_of_its_targets_once(split, monkeypatch):
    looked, gather = [], ExampleRows.gather

    def watch(self, name, out=None):
        looked.append((name, id(self.split)))
        return gather(self, name, out)

    monkeypatch.setattr(ExampleRows, "gather", watch)
    batch = collate(split, np.array([30, 4]), 0)
    CachedTargets(split).for_batch(batch, ("logits", "cls_01"))
    assert looked.count(("row_hash", id(split))) == looked.count(("example_id", id(split))) == 1
    targets = Split("train", split.shards, True)  # equal, and another: nothing is known of it
    CachedTargets(targets).for_batch(batch, ("logits", "cls_01"))
    assert looked.count(("row_hash", id(targets))) == looked.count(("example_id", id(targets))) == 1


@pytest.mark.parametrize("column", ["example_id", "row_hash"])
def test_targets_of_another_split_are_compared_with_its_own_rows(split, column):
    batch = collate(split, np.array([1, 9]), 0)
    shards = [dict(shard) for shard in split.shards]
    shards[1][column] = np.roll(shards[1][column], 1, axis=0)
    damaged = CachedTargets(Split("train", shards, True))
    for _ in range(2):  # a refusal is not remembered as a check
        with pytest.raises(BadCache, match="split train, example 9: the stored row belongs to other tokens"):
            damaged.for_batch(batch, ("logits", "cls_01"))


def test_other_rows_or_hashes_in_a_checked_batch_are_compared_again(split):
    batch, other = collate(split, np.array([1, 9]), 0), collate(split, np.array([2, 10]), 0)
    for strayed in (replace(batch, row_hashes=other.row_hashes), replace(batch, rows=other.rows)):
        with pytest.raises(BadCache, match="the stored row belongs to other tokens"):
            CachedTargets(split).for_batch(strayed, ("logits", "cls_01"))


def test_the_text_of_a_row_that_belongs_to_others(split):
    rows = split.rows(np.array([3, 4]))
    hashes = (bytes(16), bytes(16))
    stored = split.gather("row_hash", np.array([3]))[0].tobytes().hex()
    with pytest.raises(BadCache) as refused:
        rows.check(hashes)
    assert str(refused.value) == (
        f"split train, example 3: the stored row belongs to other tokens (example_id 3, row_hash {stored}, "
        f"expected {'0' * 32}). The cache is damaged: see python cli.py cache verify --help"
    )
