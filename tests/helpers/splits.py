"""Splits in memory."""

import numpy as np

from pipeline.data.ragged import Ragged
from pipeline.data.splits import Split, row_hashes


def random_split(name: str, *sizes: int, seed: int = 0) -> Split:
    """A split of random tokens, labels and logits, in shards of these sizes."""
    draw = np.random.default_rng(seed)
    shards, first = [], 0
    for size in sizes:
        tokens = Ragged.from_lists([draw.integers(0, 9, draw.integers(1, 5)) for _ in range(size)], np.int32)
        hashes = np.frombuffer(b"".join(row_hashes(tokens)), np.uint8).reshape(size, 16)
        ids = np.arange(first, first + size)
        columns = {"example_id": ids, "row_hash": hashes, "input_ids": tokens, "label": draw.integers(0, 2, size)}
        shards.append(columns | {"logits": draw.random((size, 2), np.float32)})
        first += size
    return Split(name, shards, True)
