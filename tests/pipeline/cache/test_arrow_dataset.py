"""Splits of caches as `datasets.Dataset` on their bytes."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from pipeline.cache.open import open_cache, open_caches
from pipeline.cache.token_store import TokenStore
from pipeline.data.ragged import Ragged
from pipeline.data.texts import decode_texts
from pipeline.distillation.own_tokens import with_own_tokens
from pipeline.errors import BadCache, BadOption
from tests.helpers.own_tokenizer import own_tokenizer
from tests.helpers.rewriting import flip_byte
from tests.helpers.transfer import with_transfer

HIDDEN = 32


def address(values: np.ndarray) -> int:
    return values.__array_interface__["data"][0]


def data_addresses(array: pa.Array) -> list[int]:
    return [buffer.address for buffer in array.buffers() if buffer is not None]


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
def test_table_is_the_mapped_bytes_of_the_shards(tiny, container):
    split = (cache := open_cache(getattr(tiny, container))).splits["train"]
    rows = cache.to_datasets("train")
    before = pa.total_allocated_bytes()
    table = rows.data.table
    assert pa.total_allocated_bytes() == before
    for name in ("input_ids", "token_type_ids", "text_1", "label", "logits", "cls_02", "example_id"):
        chunks = table.column(name).chunks
        assert len(chunks) == len(split.shards) == 5
        for chunk, shard in zip(chunks, split.shards, strict=True):
            column = shard[name]
            parts = [column.offsets, column.values] if isinstance(column, Ragged) else [column]
            assert data_addresses(chunk) == [address(part) for part in parts], name


def test_rows_are_those_of_the_cache(tiny):
    cache = open_cache(tiny.arrow)
    rows, split = cache.to_datasets("dev"), cache.splits["dev"]
    assert rows.num_rows == 90 and str(rows.split) == "dev" and rows.features["label"].names == ["neg", "pos"]
    assert rows.column_names == [
        *("example_id", "input_ids", "token_type_ids", "text_1", "label", "logits", "cls_01", "cls_02", "cls_03")
    ]
    assert rows["text_1"][64] == decode_texts(split.shards[1]["text_1"])[0]
    assert rows[64]["input_ids"] == split.shards[1]["input_ids"][0].tolist()
    vectors = rows.with_format("numpy")["cls_02"][:]
    assert np.array_equal(vectors, split.column("cls_02")) and vectors.shape == (90, HIDDEN)
    assert [*rows.filter(lambda row: row["label"] == 1)["label"]] == split.labels[split.labels == 1].tolist()


def test_same_columns_have_the_same_fingerprint(tiny):
    def fingerprint(*arguments) -> str:
        return open_cache(tiny.arrow).to_datasets(*arguments)._fingerprint

    assert fingerprint("dev") == fingerprint("dev")
    assert len({fingerprint("dev"), fingerprint("train"), fingerprint("dev", ["logits"])}) == 3


def test_splits_and_caches_are_read_as_one(tiny, tmp_path):
    names = {"labelled": ("train",), "texts": ("transfer",)}
    parts = [str(with_transfer(tiny.arrow, tmp_path / name, 2, splits=splits)) for name, splits in names.items()]
    rows = open_caches(parts).to_datasets("train+transfer", ["example_id", "label", "logits"])
    assert [*rows["example_id"]] == [*range(300)] and rows[299]["label"] == -1
    assert np.array_equal(
        rows.with_format("numpy")["logits"][:], open_cache(tiny.arrow).splits["train"].column("logits")
    )


def test_damaged_shard_is_named_before_anything_is_read(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    shard = open_cache(cache).manifest.splits["train"].shards[4]
    flip_byte(cache / shard.file, shard.parts["label"].offset)
    with pytest.raises(BadCache, match=r"train/00004\.arrow is damaged"):
        open_cache(cache).to_datasets("train", ["logits"])
    with pytest.raises(BadOption, match=r"does not have a column row_hash\. Name some of example_id, input_ids, "):
        open_cache(cache).to_datasets("train", ["row_hash"])
    with pytest.raises(BadOption, match=r"is asked for no column\. Name some, or leave columns out for all"):
        open_cache(cache).to_datasets("train", [])


def test_own_tokens_are_in_the_table(tiny):
    cache = with_own_tokens(open_cache(tiny.arrow), own_tokenizer(), 64, TokenStore.of_user())
    rows = cache.to_datasets("dev")
    assert rows[70]["input_ids"] == own_tokenizer()(rows[70]["text_1"])["input_ids"]
    assert rows._fingerprint != open_cache(tiny.arrow).to_datasets("dev")._fingerprint
