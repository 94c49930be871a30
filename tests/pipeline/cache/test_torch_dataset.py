"""Splits of caches as data sets of torch."""

import multiprocessing
import shutil
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.cache.open import open_cache, open_caches
from pipeline.cache.token_store import TokenStore
from pipeline.data.batching import collate
from pipeline.distillation.own_tokens import with_own_tokens
from pipeline.errors import BadCache, BadOption
from tests.helpers.imported import write_imported_cache
from tests.helpers.own_tokenizer import PAD, own_tokenizer
from tests.helpers.rewriting import flip_byte
from tests.helpers.transfer import with_transfer


def batches(dataset, **options) -> list[dict[str, torch.Tensor]]:
    return list(DataLoader(dataset, batch_size=7, collate_fn=dataset.collate, **options))


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
def test_items_are_the_rows_of_the_cache(tiny, container):
    cache = open_cache(getattr(tiny, container))
    dataset, split = cache.dataset("train", ("logits", "cls_02", "example_id")), cache.splits["train"]
    assert len(dataset) == len(split) == 300
    for place in (0, 63, 64, 299):
        item = dataset[place]
        tokens = torch.from_numpy(split.rows(np.array([place])).ragged("input_ids").values).long()
        assert torch.equal(item["input_ids"], tokens) and item["attention_mask"].tolist() == [1] * len(tokens)
        assert item["labels"] == split.labels[place] and item["example_id"] == place
        for name in ("logits", "cls_02"):
            assert np.array_equal(item[name].numpy(), split.gather(name, np.array([place]))[0])
    assert same(dataset[-1], dataset[299]) and list(dataset[0]) == [
        *("input_ids", "attention_mask", "token_type_ids", "labels", "logits", "cls_02", "example_id")
    ]
    assert list(cache.dataset()[0])[4:] == ["logits", "cls_01", "cls_02", "cls_03"]
    with pytest.raises(IndexError):
        dataset[300]
    with pytest.raises(TypeError):
        dataset[0:2]
    assert len([*dataset]) == 300  # a plain loop ends


def test_batch_of_items_is_the_batch_of_a_training(tiny):
    cache = open_cache(tiny.arrow)
    dataset, ids = cache.dataset("train", "logits"), np.array([299, 4, 130, 4])
    batch, expected = dataset.collate(dataset.__getitems__(ids.tolist())), collate(cache.splits["train"], ids, 0)
    assert same(batch, expected.inputs | {"labels": expected.labels, "logits": batch["logits"]})
    assert dataset.__getitems__([]) == []


@pytest.mark.process
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader_read_the_same(tiny, start):
    dataset = open_cache(tiny.arrow).dataset("train", ["logits"])
    expected = batches(dataset)
    context = multiprocessing.get_context(start)
    read = batches(dataset, num_workers=2, multiprocessing_context=context)
    assert len(read) == 43 and all(map(same, read, expected))


def test_copy_for_another_process_holds_no_data(tiny, tmp_path):
    for cache in (
        open_cache(tiny.arrow),
        with_own_tokens(open_cache(tiny.arrow), own_tokenizer(), 64, TokenStore.of_user()),
    ):
        dataset = cache.dataset()
        fresh = len(ForkingPickler.dumps(dataset))
        first = dataset[299]
        assert len([*dataset]) == 300
        sent = ForkingPickler.dumps(dataset)
        assert len(sent) == fresh < 40_000  # the manifest and the tokenizer; the columns have 200 kB
        assert same(ForkingPickler.loads(sent)[299], first)


def test_damaged_shard_is_named_before_a_row_of_it_is_read(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    dataset = open_cache(cache).dataset("train", ["logits"])
    assert dataset[0]
    damaged = open_cache(cache).manifest.splits["train"].shards[2]
    flip_byte(cache / damaged.file, damaged.parts["logits"].offset)
    dataset = open_cache(cache).dataset("train", ["logits"])
    assert dataset[127] and dataset[192]  # of the shards around it
    with pytest.raises(BadCache, match=r"train/00002\.arrow is damaged .* Run: python cli\.py cache verify .*--repair"):
        dataset[128]
    with pytest.raises(BadCache, match=r"00002\.arrow is damaged"):
        dataset.verify()


@pytest.mark.process
def test_damaged_shard_is_named_by_a_worker(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    shard = open_cache(cache).manifest.splits["dev"].shards[0]
    flip_byte(cache / shard.file, shard.parts["logits"].offset)
    with pytest.raises(RuntimeError, match=r"00000\.arrow is damaged"):
        batches(open_cache(cache).dataset("dev"), num_workers=1, multiprocessing_context="fork")


def test_splits_and_caches_are_read_as_one(tiny, tmp_path):
    whole = with_transfer(tiny.arrow, tmp_path / "whole", 2)
    parts = [
        str(with_transfer(tiny.arrow, tmp_path / name, 2, splits=splits))
        for name, splits in {"labelled": ("train", "dev"), "texts": ("transfer",)}.items()
    ]
    expected = [*open_cache(tiny.arrow).dataset("train", ["cls_02"])]
    for cache in (open_cache(whole), open_caches(parts)):
        items = [*cache.dataset("train+transfer", ["cls_02"])]
        assert len(items) == 300 and items[299]["labels"] == -1
        assert all(same(a, b | {"labels": a["labels"]}) for a, b in zip(items, expected, strict=True))


def test_own_tokens_have_their_own_padding(tiny):
    cache = with_own_tokens(open_cache(tiny.arrow), own_tokenizer(), 64, TokenStore.of_user())
    dataset = cache.dataset("dev", ["logits"])
    batch = dataset.collate([dataset[0], dataset[1]])
    assert (batch["input_ids"][batch["attention_mask"] == 0] == PAD).all() and (batch["attention_mask"] == 0).any()
    assert "token_type_ids" not in batch and batch["input_ids"][0, 0] == 0


def test_published_cache_is_read_by_workers(tiny, tmp_path, call, monkeypatch):
    url = f"file://{tmp_path}/shared/toy"
    assert call("cache", "push", tiny.arrow, url).code == 0
    monkeypatch.setenv("PKD_STORE", str(tmp_path / "store"))
    dataset = open_cache(url).dataset("dev", ["logits"])
    local = open_cache(tiny.arrow).dataset("dev", ["logits"])
    assert same(ForkingPickler.loads(ForkingPickler.dumps(dataset))[89], local[89])
    dataset.verify()
    small = open_cache(url, tmp_path / "other", store_bytes=1000)
    with pytest.raises(BadOption, match="Raise --store-bytes"):
        small.dataset("train")


def test_wrong_names_are_one_line(tiny, tmp_path):
    cache, place = open_cache(tiny.arrow), str(tiny.arrow)
    splits = "Name one of train, dev, test, or several as one: train+dev"
    for arguments, message in {
        ("eval",): f"does not have a split eval. {splits}",
        ("dev+dev",): f"is asked twice for one of dev+dev. {splits}",
        ("dev", "cls_04"): "does not have a column cls_04. Name some of logits, cls_01, cls_02, cls_03, example_id",
    }.items():
        with pytest.raises(BadOption) as error:
            cache.dataset(*arguments)
        assert str(error.value) == f"{place} {message}"
    imported = write_imported_cache(tiny.arrow, tmp_path / "imported")
    with pytest.raises(BadCache, match=r"imported has texts and no tokens: its targets were made elsewhere\."):
        open_cache(imported).dataset()
    own = with_own_tokens(open_cache(imported), own_tokenizer(), 64, TokenStore.of_user())
    assert list(own.dataset()[0]) == ["input_ids", "attention_mask", "labels", "logits"]
