import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.batching import BatchOrder, by_length, collate, subset
from pipeline.data.ragged import Ragged
from pipeline.data.splits import Split, row_hash
from pipeline.errors import BadCache


def order(count=100, batch_size=8, data_seed=0, lengths=None):
    lengths = np.random.default_rng(1).integers(5, 60, count) if lengths is None else lengths
    return BatchOrder(np.arange(count), lengths, batch_size, data_seed)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 3000), st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_every_example_stands_once_in_an_epoch(count, batch_size, data_seed, epoch):
    batches = order(count, batch_size, data_seed).epoch(epoch)
    assert sorted(np.concatenate(batches)) == list(range(count))
    assert len(batches) == -(-count // batch_size)
    assert sum(len(batch) < batch_size for batch in batches) <= 1


def test_the_order_is_a_function_of_data_seed_epoch_and_batch_size():
    def flat(o, epoch=0):
        return np.concatenate(o.epoch(epoch)).tolist()

    assert flat(order()) == flat(order())
    assert flat(order()) != flat(order(), epoch=1)
    assert flat(order()) != flat(order(data_seed=1))
    assert flat(order()) != flat(order(batch_size=16))


def padding_share(batches: list[np.ndarray], lengths: np.ndarray) -> float:
    """Share of padding among all tokens of these batches."""
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / padded


def rte_like_lengths(count=2490):
    """Word pieces of RTE pairs: median 63, a long tail cut at 128 (measured on the official files)."""
    return np.random.default_rng(0).lognormal(4.1, 0.5, count).clip(15, 128).astype(int)


def test_padding_is_below_6_percent_at_batch_32():
    shares = [
        padding_share(order(2490, 32, seed, rte_like_lengths()).epoch(0), rte_like_lengths()) for seed in range(5)
    ]
    assert max(shares) < 0.06
    random = np.array_split(np.random.default_rng(0).permutation(2490), 78)
    assert padding_share(random, rte_like_lengths()) > 0.3  # what buckets save


def test_batches_are_not_in_order_of_length():
    first = [rte_like_lengths()[batch].mean() for batch in order(2490, 32, 0, rte_like_lengths()).epoch(0)]
    assert abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.4


def split_of(rows, types=None):
    shard = {
        "example_id": np.arange(len(rows)),
        "row_hash": np.array([list(row_hash(np.array(row))) for row in rows], np.uint8),
        "input_ids": Ragged.from_lists(rows, np.int32),
        "label": np.arange(len(rows)) % 2,
    }
    if types:
        shard["token_type_ids"] = Ragged.from_lists(types, np.int8)
    return Split("train", [shard], True)


def test_collated_batch():
    split = split_of([[2, 5, 3], [2, 6, 7, 8, 3], [2, 3]], [[0, 0, 0], [0, 0, 1, 1, 1], [0, 0]])
    batch = collate(split, np.array([1, 0]), pad_id=9)
    assert batch.inputs["input_ids"].tolist() == [[2, 6, 7, 8, 3], [2, 5, 3, 9, 9]]
    assert batch.inputs["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 1, 1, 1], [0] * 5]
    assert batch.labels.tolist() == [1, 0]
    assert batch.row_hashes == (row_hash(np.array([2, 6, 7, 8, 3])), row_hash(np.array([2, 5, 3])))


def test_collated_batch_of_questions():
    """Two examples of two sequences: the second is padded to the longest of all, and batches go by the longest."""
    lengths = np.array([[3, 1], [2, 2]], np.int32)
    rows = [[2, 5, 3, 2], [2, 3, 2, 6]]
    shard = split_of(rows, [[0, 1, 1, 0], [0, 1, 0, 0]]).shards[0]
    shard["sequence_lengths"] = lengths
    shard["row_hash"] = np.array([list(row_hash(np.array(r), n)) for r, n in zip(rows, lengths, strict=True)], np.uint8)
    split = Split("train", [shard], True)
    assert (split.sequences, split.tokens.tolist(), split.lengths.tolist()) == (2, [4, 4], [3, 2])
    assert [split.examples_in(count) for count in (64, 3, 1)] == [32, 1, 1]
    batch = collate(split, np.array([1, 0]), pad_id=9)
    assert batch.inputs["input_ids"].tolist() == [[[2, 3, 9], [2, 6, 9]], [[2, 5, 3], [2, 9, 9]]]
    assert batch.inputs["attention_mask"].tolist() == [[[1, 1, 0], [1, 1, 0]], [[1, 1, 1], [1, 0, 0]]]
    assert batch.inputs["token_type_ids"].tolist() == [[[0, 1, 0], [0, 0, 0]], [[0, 1, 1], [0, 0, 0]]]
    shard["sequence_lengths"] = lengths[:, ::-1]  # the same tokens, divided otherwise
    with pytest.raises(BadCache, match="split train, example 0: the stored row belongs to other tokens"):
        collate(Split("train", [shard], True), np.array([0, 1]), pad_id=9)


@pytest.mark.parametrize("column", ["example_id", "row_hash"])
def test_a_batch_of_other_tokens_than_its_rows_say(column):
    split = split_of([[2, 5, 3], [2, 6, 3]])
    split.shards[0][column] = split.shards[0][column][::-1]
    with pytest.raises(BadCache, match="split train, example 1: the stored row belongs to other tokens"):
        collate(split, np.array([1, 0]), pad_id=9)


def test_subset_is_drawn_with_the_data_seed():
    assert subset(10, 0, 0).tolist() == subset(10, 99, 0).tolist() == list(range(10))
    drawn = subset(1000, 50, 0)
    assert len(set(drawn)) == 50 and drawn.tolist() == sorted(drawn)
    assert drawn.tolist() == subset(1000, 50, 0).tolist() != subset(1000, 50, 1).tolist()
    assert drawn.max() > 800  # not the first rows: files are often sorted by label


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_passes_without_training_go_by_length(batch_size):
    lengths = np.array([3, 9, 9, 1, 5])
    batches = by_length(np.arange(5), lengths, batch_size)
    assert np.concatenate(batches).tolist() == [1, 2, 4, 0, 3]
    assert max(map(len, batches)) <= batch_size
