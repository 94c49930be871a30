"""Reads from files that are not in memory: random rows, and the opening of a cache."""

import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format import arrow
from pipeline.cache.format.columns import LOGITS, cls_column
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.data.batching import BatchOrder, collate
from pipeline.distillation.targets import CachedTargets
from pipeline.models.accelerator import keep_freed_memory
from pipeline.system.mapped_files import map_file
from stages.benchmarks.contenders.random_reads import Gather, Turn, batches_of, cache_gather
from stages.benchmarks.harness.timing import Measured

AHEAD = 8  # batches that are requested before they are needed
COLD, COLD_MAPPED, WARM_MAPPED = "cold, shuffled", "cold, plain mmap", "the same rows again, plain mmap"
OPENING, FIRST_BATCH = "opened", "first batch"


def files_of(cache: str) -> list[Path]:
    """Return every file of a cache, sorted."""
    return sorted(path for path in Path(cache).rglob("*") if path.is_file())


def evict(files: Sequence[Path]) -> None:
    """Remove the pages of these files from memory, except those that a process maps."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # a page that is not on disk yet would stay
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def cold_cache(cache: str, layers: Sequence[int], lengths: np.ndarray, seconds: float) -> Turn:
    """Return a turn of this project's reader at the start of the given epoch, with batches requested 8 ahead."""
    keep_freed_memory()

    def run(epoch: int) -> Measured:
        batches = first_tenth(lengths, epoch)
        gc.collect()  # the mapping of the call before
        evict(files_of(cache))
        names = [cls_column(layer) for layer in layers]
        split = open_cache(cache).splits["train"]
        gather = cache_gather(split, names)
        len(split)
        started = time.perf_counter()
        for ids in batches[:AHEAD]:
            split.prefetch(names, ids)
        done = 0
        for number, ids in enumerate(batches):
            for later in batches[number + AHEAD : number + AHEAD + 1]:
                split.prefetch(names, later)
            gather(ids)
            done += len(ids)
            if time.perf_counter() - started > seconds:
                break
        return {COLD: (done, time.perf_counter() - started)}

    return run


def cold_mapped(cache: str, layers: Sequence[int], lengths: np.ndarray, seconds: float) -> Turn:
    """Return a turn that reads the same bytes through plain mappings, cold, then the same rows again from memory."""
    names = [cls_column(layer) for layer in layers]

    def run(epoch: int) -> Measured:
        batches = first_tenth(lengths, epoch)
        gc.collect()
        evict(files_of(cache))
        gather = mapped_gather(cache, names)
        started = time.perf_counter()
        read = []
        for ids in batches:
            gather(ids)
            read.append(ids)
            if time.perf_counter() - started > seconds:
                break
        middle = time.perf_counter()
        for ids in read:
            gather(ids)
        rows = sum(map(len, read))
        return {COLD_MAPPED: (rows, middle - started), WARM_MAPPED: (rows, time.perf_counter() - middle)}

    return run


def first_tenth(lengths: np.ndarray, epoch: int) -> list[np.ndarray]:
    """Return the first tenth of an epoch's batches."""
    batches = batches_of(len(lengths), lengths, epoch)
    return batches[: max(1, len(batches) // 10)]


def mapped_gather(cache: str, names: Sequence[str]) -> Gather:
    """Return numpy's indexing of the columns, mapped at the offsets in the manifest."""
    manifest = read_manifest(Path(cache))
    types, size = manifest.column_types(), int(manifest.fields.shard_rows)
    shards = []
    for shard in manifest.splits["train"].shards:
        data, _ = map_file(Path(cache) / shard.file)
        columns = {}
        for name in names:
            extent = shard.parts[name]
            values = data[extent.offset : extent.offset + extent.bytes].view(types[name].dtype)
            columns[name] = values.reshape(shard.rows, -1) if types[name].width else values
        shards.append(columns)

    def gather(ids: np.ndarray) -> dict[str, Any]:
        parts = [(shards[index], ids[ids // size == index] % size) for index in np.unique(ids // size)]
        return {name: np.concatenate([columns[name][local] for columns, local in parts]) for name in names}

    return gather


def opening(cache: str, layers: Sequence[int], cold: bool) -> Turn:
    """Return a turn that times a fresh process until a cache is open, and until it has a batch with its targets."""
    assert arrow.__name__  # opening must not import it within the time

    def run(_: int) -> Measured:
        if cold:
            evict(files_of(cache))
        started = time.perf_counter()
        split = open_cache(cache).splits["train"]
        opened = time.perf_counter()
        ids = BatchOrder(np.arange(len(split)), split.lengths, 32, 0).batch(0)
        CachedTargets(split).for_batch(collate(split, ids, 0), [LOGITS, *map(cls_column, layers)])
        state = "cold" if cold else "warm"
        return {
            f"{OPENING}, {state}": (opened - started, 1),
            f"{FIRST_BATCH}, {state}": (time.perf_counter() - started, 1),
        }

    return run
