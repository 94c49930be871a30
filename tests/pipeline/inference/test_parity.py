"""Comparison of two models on examples of splits, against numbers worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from pipeline.data.task_kinds import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from pipeline.data.task_metrics import TaskMetrics
from pipeline.inference.parity import Examples, Parity, agreement_of, speeds
from tests.helpers.splits import random_split

METRICS = TaskMetrics(SINGLE_LABEL, ("accuracy",), ("neg", "pos"))


@pytest.fixture
def split():
    return random_split("dev", 4, 6)


def examples_of(split, limit: int = 0) -> Examples:
    return Examples.spaced({"dev": split}, limit, METRICS, pad_id=0, segments=True)


def sums(inputs) -> np.ndarray:
    """Return logits that say which example is which: the sum of its tokens."""
    total = inputs["input_ids"].sum(-1)
    return torch.stack([total, -total], -1).numpy().astype(np.float32)


def test_examples_are_evenly_spaced_and_all_without_a_limit(split):
    assert examples_of(split, 4).ids["dev"].tolist() == [0, 2, 5, 7]
    assert examples_of(split).ids["dev"].tolist() == [*range(10)] == examples_of(split, 99).ids["dev"].tolist()
    assert len(examples_of(split, 4)) == 4


def test_logits_are_in_the_order_of_the_examples(split):
    examples = examples_of(split, 7)
    tokens = [shard["input_ids"] for shard in split.shards]
    totals = [column.values[a:b].sum() for column in tokens for a, b in pairwise(column.offsets)]
    logits = examples.logits(sums, "test")["dev"]
    assert logits[:, 0].tolist() == [totals[place] for place in examples.ids["dev"]]


def test_segments_that_the_examples_do_not_have_are_not_inputs(split):
    assert not examples_of(split).segments
    assert {*examples_of(split).inputs("dev", np.arange(2))} == {"input_ids", "attention_mask"}


def test_typical_batch_repeats_few_examples(split):
    rows, tokens = examples_of(split).typical(1)["input_ids"].shape
    assert rows == 1 and abs(tokens - np.median(split.lengths)) <= 0.5
    assert len(examples_of(split, 3).typical(32)["input_ids"]) == 32


def test_parity_is_the_largest_difference_and_the_share_of_equal_labels(split):
    split.shards[0]["label"][:] = [0, 0, 1, 1]
    examples = Examples({"dev": split}, {"dev": np.arange(4)}, METRICS, 0, False)
    before = {"dev": np.float32([[2, 0], [2, 0], [0, 2], [2, 0]])}
    after = {"dev": np.float32([[2, 0], [1, 1.5], [0, 2], [2, 0.5]])}
    parity = Parity.between(examples, before, after)
    assert (parity.examples, parity.max_difference, parity.agreement) == (4, 1.5, 0.75)
    assert parity.metrics_before == {"dev": {"accuracy": 0.75}} and parity.metrics_after == {"dev": {"accuracy": 0.5}}


def test_equal_predictions_agree_where_the_measure_says_nothing():
    nothing, constant = np.full((3, 2), -9.0), np.ones((3, 1))
    assert agreement_of(MULTI_LABEL, nothing, nothing) == agreement_of(REGRESSION, constant, constant) == 1
    assert agreement_of(SINGLE_LABEL, np.full((3, 2), np.nan), nothing) == 0


def test_speeds_are_examples_per_second_of_both(split):
    result = speeds(examples_of(split), sums, sums, (1, 4))
    assert [*result] == ["1", "4"]
    assert all({*each} == {"before", "after"} and min(each.values()) > 0 for each in result.values())
