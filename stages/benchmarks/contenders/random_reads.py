"""Batches of random rows, and a turn that reads them; shared by warm and cold reads."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from pipeline.data.batching import BatchOrder
from pipeline.data.splits import Split
from stages.benchmarks.harness.timing import Measured

BATCH = 256
COPY_BYTES = 256_000_000  # far more than any processor cache holds
COPY = "memory copy, one core"

Gather = Callable[[np.ndarray], dict[str, Any]]  # rising ids -> the rows of each column
Turn = Callable[[int], Measured]  # amount of work -> (work done, seconds) by name


def batches_of(rows: int, lengths: np.ndarray, epoch: int = 0) -> list[np.ndarray]:
    """Return the batches of an epoch over examples 0 to rows − 1, the ids of each rising."""
    return BatchOrder(np.arange(rows), lengths[:rows], BATCH, 0).epoch(epoch)


def repeated(name: str, gather: Gather, batches: Sequence[np.ndarray], unit: int = 1) -> Turn:
    """Return a turn that reads the next batches, `unit` of them for each unit of work."""
    endless: Iterator[np.ndarray] = cycle(batches)

    def run(count: int) -> Measured:
        chosen = [next(endless) for _ in range(count * unit)]
        started = time.perf_counter()
        for ids in chosen:
            gather(ids)
        return {name: (sum(map(len, chosen)), time.perf_counter() - started)}

    return run


def memory_copy() -> Turn:
    """Return a turn that copies one large array into another."""
    source, target = (np.ones(COPY_BYTES, np.uint8) for _ in range(2))

    def run(times: int) -> Measured:
        started = time.perf_counter()
        for _ in range(times):
            np.copyto(target, source)
        return {COPY: (times * COPY_BYTES, time.perf_counter() - started)}

    return run


def cache_gather(split: Split, names: Sequence[str]) -> Gather:
    """Return this project's reader of these columns."""

    def gather(ids: np.ndarray) -> dict[str, Any]:
        rows = split.rows(ids)
        return {name: rows.gather(name) for name in names}

    return gather
