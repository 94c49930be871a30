"""Several splits as one list of examples."""

import numpy as np
import pytest

from pipeline.data.batching import collate
from pipeline.data.joined_split import join_splits
from pipeline.distillation.targets import CachedTargets
from pipeline.errors import BadCache
from tests.helpers.splits import random_split


def test_one_split_stays_as_it_is():
    alone = random_split("train", 3)
    assert join_splits([alone]) is alone and alone.parts == (alone,)


def test_examples_of_all_splits_are_joined_by_id_and_row_hash():
    parts = [random_split("train", 3, 2), random_split("transfer", 4, seed=1), random_split("transfer", 1, 2, seed=2)]
    joined = join_splits([parts[0], join_splits(parts[1:])])
    assert (joined.name, len(joined), joined.parts) == ("train+transfer", 12, tuple(parts))
    everything = {name: np.concatenate([part.column(name) for part in parts]) for name in ("logits", "label")}
    ids = np.array([11, 0, 7, 3, 8, 5])
    batch = collate(joined, ids, 0)
    targets = CachedTargets(joined).for_batch(batch, ["logits"])
    np.testing.assert_array_equal(targets["logits"].numpy(), everything["logits"][ids])
    np.testing.assert_array_equal(batch.labels.numpy(), everything["label"][ids])
    np.testing.assert_array_equal(joined.lengths, np.concatenate([part.lengths for part in parts]))


def test_row_of_other_tokens_is_named_by_its_own_split():
    parts = [random_split("train", 3), random_split("transfer", 4, seed=1)]
    parts[1].shards[0]["row_hash"] = parts[1].shards[0]["row_hash"][::-1]
    with pytest.raises(BadCache, match=r"^split transfer, example 1: the stored row belongs to other tokens"):
        collate(join_splits(parts), np.array([0, 4]), 0)
