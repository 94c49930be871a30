"""Reads of random rows from memory: this project's reader, `datasets` and h5py."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import torch

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.models.accelerator import keep_freed_memory
from stages.benchmarks.contenders.random_reads import BATCH, Gather, Turn, batches_of, cache_gather, repeated

UNIT = 64  # batches in the smallest turn of this project's reader: fewer are too fast to time
CHUNK_ROWS = 64  # of the chunked data sets of h5py
PAGE = 4096
DATASETS, DATASETS_OWN = "datasets, torch format, on these shards", "datasets, torch format, as it writes rows itself"
CHUNKED, CONTIGUOUS = f"h5py, chunks of {CHUNK_ROWS} rows", "h5py, contiguous"


def warm_cache(name: str, cache: str, names: Sequence[str], lengths: np.ndarray) -> Turn:
    """Return a turn of this project's reader, with all pages in memory and mapped."""
    keep_freed_memory()  # as every command that computes does
    split = open_cache(cache).splits["train"]
    for shard in split.shards:
        for column in names:
            touch(shard[column])  # type: ignore[arg-type]
    return repeated(name, cache_gather(split, names), batches_of(len(split), lengths), UNIT)


def touch(column: np.ndarray) -> None:
    """Read a byte of every page."""
    column.reshape(-1).view(np.uint8)[::PAGE].sum()


def warm_datasets(name: str, cache: str, names: Sequence[str], rows: int, lengths: np.ndarray) -> Turn:
    """Return a turn of `datasets`, on the first rows of the cache's shards or of a file of its own."""
    gather = datasets_gather if name == DATASETS else own_datasets_gather
    return repeated(name, gather(cache, names, rows), batches_of(rows, lengths))


def datasets_gather(cache: str, names: Sequence[str], rows: int) -> Gather:
    """Return `datasets` over the cache's Arrow shards, mapped (`Dataset.from_file` reads Arrow streams only)."""
    from datasets import Dataset

    tables = []
    for shard in read_manifest(Path(cache)).splits["train"].shards[: shards_of(cache, rows)]:
        tables.append(pa.ipc.open_file(pa.memory_map(str(Path(cache) / shard.file))).read_all())
    return _in_torch_format(Dataset(pa.concat_tables(tables)), names)


def own_datasets_gather(cache: str, names: Sequence[str], rows: int) -> Gather:
    """Return `datasets` over a file that it wrote itself from the same rows, one by one, as is usual."""
    from datasets import Dataset

    split = open_cache(cache).splits["train"]

    def each() -> Iterator[dict[str, Any]]:
        for start in range(0, rows, BATCH):
            values = cache_gather(split, names)(np.arange(start, min(start + BATCH, rows)))
            for row in range(len(values[names[0]])):
                yield {name: column[row] for name, column in values.items()}

    with TemporaryDirectory(dir=Path(cache).parent) as directory:
        return _in_torch_format(Dataset.from_generator(each, cache_dir=directory), names)


def _in_torch_format(dataset: Any, names: Sequence[str]) -> Gather:
    """Return a dataset's own indexing of these columns, as tensors."""
    torch.set_num_threads(1)
    chosen = dataset.select_columns(list(names)).with_format("torch")

    def gather(ids: np.ndarray) -> dict[str, Any]:
        return dict(chosen[ids.tolist()])

    return gather


def shards_of(cache: str, rows: int) -> int:
    """Return how many shards hold the first `rows` rows."""
    return -(-rows // int(read_manifest(Path(cache)).fields.shard_rows))


def warm_h5py(name: str, file: str, names: Sequence[str], lengths: np.ndarray) -> Turn:
    """Return a turn of h5py on a file of `write_h5py`."""
    gather, rows = h5py_gather(file, names)
    return repeated(name, gather, batches_of(rows, lengths))


def h5py_gather(file: str, names: Sequence[str]) -> tuple[Gather, int]:
    """Return h5py's own indexing with a list of rising rows, and the number of rows."""
    opened = h5py.File(file, "r")

    def gather(ids: np.ndarray) -> dict[str, Any]:
        return {name: opened[name][ids] for name in names}

    return gather, len(opened[names[0]])


def write_h5py(file: Path, cache: str, names: Sequence[str], rows: int, chunked: bool) -> None:
    """Write the first rows of a cache's columns to one file, with a data set per column."""
    shards = open_cache(cache).splits["train"].shards[: shards_of(cache, rows)]
    with h5py.File(file, "w") as target:
        for name in names:
            values = np.concatenate([np.asarray(shard[name]) for shard in shards])[:rows]
            chunks = (CHUNK_ROWS, *values.shape[1:]) if chunked else None
            target.create_dataset(name, data=values, chunks=chunks)
