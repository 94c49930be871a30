"""What runs in the processes of `benchmark reader`: ways to read rows at random, warm and cold, and to open a cache."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import torch

from pipeline.cache.format import arrow
from pipeline.cache.format.columns import cls_column
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.cache.shard_sources import map_file
from pipeline.data.batching import BatchOrder, collate
from pipeline.data.splits import Split
from pipeline.distillation.targets import CachedTargets
from pipeline.models.accelerator import keep_freed_memory
from stages.benchmarks.harness.timing import Measured

BATCH = 256
AHEAD = 8  # batches that are asked for before they are needed
UNIT = 64  # batches of the smallest turn of this reader: fewer are over too soon to be timed
CHUNK_ROWS = 64  # of the chunked data sets of h5py
COPY_BYTES = 256_000_000  # far more than any cache holds
PAGE = 4096
COPY = "memory copy, one core"
DATASETS, DATASETS_OWN = "datasets, torch format, on these shards", "datasets, torch format, as it writes rows itself"
CHUNKED, CONTIGUOUS = f"h5py, chunks of {CHUNK_ROWS} rows", "h5py, contiguous"
COLD, COLD_MAPPED, WARM_MAPPED = "cold, shuffled", "cold, plain mmap", "the same rows again, plain mmap"
OPENING, FIRST_BATCH = "opened", "first batch"

Gather = Callable[[np.ndarray], dict[str, Any]]  # rising ids -> the rows of each column
Work = Callable[[int], Measured]  # batches -> what was timed


def batches_of(rows: int, lengths: np.ndarray, epoch: int = 0) -> list[np.ndarray]:
    """The batches of an epoch over examples 0..rows-1, the ids of each rising."""
    return BatchOrder(np.arange(rows), lengths[:rows], BATCH, 0).epoch(epoch)


def repeated(what: str, gather: Gather, batches: Sequence[np.ndarray], unit: int = 1) -> Work:
    """Rows a second over batches that differ from call to call, `unit` of them for each unit of work."""
    endless: Iterator[np.ndarray] = cycle(batches)

    def run(count: int) -> Measured:
        chosen = [next(endless) for _ in range(count * unit)]
        started = time.perf_counter()
        for ids in chosen:
            gather(ids)
        return {what: (sum(map(len, chosen)), time.perf_counter() - started)}

    return run


def memory_copy() -> Work:
    """Bytes a second from one large array into another."""
    source, target = (np.ones(COPY_BYTES, np.uint8) for _ in range(2))

    def run(times: int) -> Measured:
        started = time.perf_counter()
        for _ in range(times):
            np.copyto(target, source)
        return {COPY: (times * COPY_BYTES, time.perf_counter() - started)}

    return run


# --- warm ------------------------------------------------------------------------------------------------------


def warm_cache(what: str, cache: str, names: Sequence[str], lengths: np.ndarray) -> Work:
    """This project's reader, all pages in memory and mapped."""
    keep_freed_memory()  # as every command that computes does
    split = open_cache(cache).splits["train"]
    for shard in split.shards:
        for name in names:
            touch(shard[name])  # type: ignore[arg-type]
    return repeated(what, cache_gather(split, names), batches_of(len(split), lengths), UNIT)


def touch(column: np.ndarray) -> None:
    """Read a byte of every page."""
    column.reshape(-1).view(np.uint8)[::PAGE].sum()


def cache_gather(split: Split, names: Sequence[str]) -> Gather:
    def gather(ids: np.ndarray) -> dict[str, Any]:
        rows = split.rows(ids)
        return {name: rows.gather(name) for name in names}

    return gather


def warm_datasets(what: str, cache: str, names: Sequence[str], rows: int, lengths: np.ndarray) -> Work:
    gather = datasets_gather if what == DATASETS else own_datasets_gather
    return repeated(what, gather(cache, names, rows), batches_of(rows, lengths))


def datasets_gather(cache: str, names: Sequence[str], rows: int) -> Gather:
    """`datasets` over the cache's own Arrow shards, mapped (`Dataset.from_file` reads Arrow streams only)."""
    from datasets import Dataset

    tables = []
    for shard in read_manifest(Path(cache)).splits["train"].shards[: shards_of(cache, rows)]:
        tables.append(pa.ipc.open_file(pa.memory_map(str(Path(cache) / shard.file))).read_all())
    return _in_torch_format(Dataset(pa.concat_tables(tables)), names)


def own_datasets_gather(cache: str, names: Sequence[str], rows: int) -> Gather:
    """`datasets` over a file that it made itself of the same rows, one by one, as with most people."""
    from datasets import Dataset

    split = open_cache(cache).splits["train"]

    def each() -> Iterator[dict[str, Any]]:
        for start in range(0, rows, BATCH):
            found = cache_gather(split, names)(np.arange(start, min(start + BATCH, rows)))
            for row in range(len(found[names[0]])):
                yield {name: values[row] for name, values in found.items()}

    with TemporaryDirectory(dir=Path(cache).parent) as directory:
        return _in_torch_format(Dataset.from_generator(each, cache_dir=directory), names)


def _in_torch_format(dataset: Any, names: Sequence[str]) -> Gather:
    torch.set_num_threads(1)
    chosen = dataset.select_columns(list(names)).with_format("torch")

    def gather(ids: np.ndarray) -> dict[str, Any]:
        return dict(chosen[ids.tolist()])

    return gather


def shards_of(cache: str, rows: int) -> int:
    """Shards that hold the first rows."""
    return -(-rows // read_manifest(Path(cache)).fields.shard_rows)


def warm_h5py(what: str, file: str, names: Sequence[str], lengths: np.ndarray) -> Work:
    gather, rows = h5py_gather(file, names)
    return repeated(what, gather, batches_of(rows, lengths))


def h5py_gather(file: str, names: Sequence[str]) -> tuple[Gather, int]:
    """h5py's own indexing with a list of rows, which have to rise; and how many rows there are."""
    opened = h5py.File(file, "r")

    def gather(ids: np.ndarray) -> dict[str, Any]:
        return {name: opened[name][ids] for name in names}

    return gather, len(opened[names[0]])


def write_h5py(file: Path, cache: str, names: Sequence[str], rows: int, chunked: bool) -> None:
    """The first rows of a cache's columns, as one file with a data set a column."""
    shards = open_cache(cache).splits["train"].shards[: shards_of(cache, rows)]
    with h5py.File(file, "w") as made:
        for name in names:
            values = np.concatenate([np.asarray(shard[name]) for shard in shards])[:rows]
            chunks = (CHUNK_ROWS, *values.shape[1:]) if chunked else None
            made.create_dataset(name, data=values, chunks=chunks)


# --- cold ------------------------------------------------------------------------------------------------------


def files_of(cache: str) -> list[Path]:
    return sorted(path for path in Path(cache).rglob("*") if path.is_file())


def evict(files: Sequence[Path]) -> None:
    """Take the pages of these files out of memory, as far as no process maps them."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # a page that is not on disk yet would stay
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def cold_cache(cache: str, layers: Sequence[int], lengths: np.ndarray, seconds: float) -> Work:
    """This project's reader at the start of another epoch each call, each batch asked for 8 batches ahead."""
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


def cold_mapped(cache: str, layers: Sequence[int], lengths: np.ndarray, seconds: float) -> Work:
    """The same bytes through plain mappings and numpy's indexing; then the same rows again, when they are in memory."""
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
    batches = batches_of(len(lengths), lengths, epoch)
    return batches[: max(1, len(batches) // 10)]


def mapped_gather(cache: str, names: Sequence[str]) -> Gather:
    """Numpy's indexing of the columns, where the manifest says that they lie."""
    manifest = read_manifest(Path(cache))
    types, size = manifest.column_types(), manifest.fields.shard_rows
    shards = []
    for shard in manifest.splits["train"].shards:
        data, _ = map_file(Path(cache) / shard.file)
        columns = {}
        for name in names:
            place = shard.parts[name]
            values = data[place.offset : place.offset + place.bytes].view(types[name].dtype)
            columns[name] = values.reshape(shard.rows, -1) if types[name].width else values
        shards.append(columns)

    def gather(ids: np.ndarray) -> dict[str, Any]:
        parts = [(shards[index], ids[ids // size == index] % size) for index in np.unique(ids // size)]
        return {name: np.concatenate([columns[name][local] for columns, local in parts]) for name in names}

    return gather


# --- opening ---------------------------------------------------------------------------------------------------


def opening(cache: str, layers: Sequence[int], cold: bool) -> Work:
    """Seconds until a fresh process has a cache open, and until it has a training batch with its targets."""
    assert arrow.layout  # what opening would import is imported

    def run(_: int) -> Measured:
        if cold:
            evict(files_of(cache))
        started = time.perf_counter()
        split = open_cache(cache).splits["train"]
        opened = time.perf_counter()
        ids = BatchOrder(np.arange(len(split)), split.lengths, 32, 0).batch(0)
        CachedTargets(split).for_batch(collate(split, ids, 0), layers)
        state = "cold" if cold else "warm"
        return {
            f"{OPENING}, {state}": (opened - started, 1),
            f"{FIRST_BATCH}, {state}": (time.perf_counter() - started, 1),
        }

    return run
