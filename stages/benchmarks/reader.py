"""Benchmark `reader`: random rows of an MNLI-sized cache, warm and cold; opening it; the memory of a run on it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.cache.format.columns import cls_column
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.batching import BatchOrder
from pipeline.distillation.layer_map import pkd_skip
from pipeline.models.encoders import depth_of
from pipeline.system.progress import note
from pipeline.teacher.preflight import check_space
from stages.benchmarks.contenders import cold_reads, random_reads, warm_reads
from stages.benchmarks.harness.measurements import Ratio, Series, ratio
from stages.benchmarks.harness.process_memory import peak_of_training
from stages.benchmarks.harness.synthetic import (
    DEV_ROWS,
    MNLI_ROWS,
    SHARD_ROWS,
    narrow,
    synthetic_cache,
    teacher_config,
    token_lengths,
)
from stages.benchmarks.harness.timing import Contender, Pace, Report, interleave

QUICK_ROWS, FEW_ROWS = 32_768, 1000
OTHER_ROWS = 4 * SHARD_ROWS  # of the files that `datasets` and h5py read
OWN_ROWS = 4096  # of the file that `datasets` writes itself, at some hundred rows per second
OTHER_BYTES = 500  # at most, per row without its [CLS] vectors
ARROW, HDF5 = "gathered, Arrow", "gathered, HDF5"
STEPS, TRAINED_BATCH = 1, 32  # of the runs whose memory is measured


@dataclass(frozen=True)
class Caches:
    """Caches to read: all layers in Arrow, the matched ones in HDF5 and for h5py, and a cache of 1,000 rows."""

    large: str
    hdf5: str
    small: str
    chunked: str
    contiguous: str
    layers: tuple[int, ...]  # matched
    lengths: np.ndarray  # of the rows of the large one
    width: int

    @property
    def names(self) -> list[str]:
        """Return the columns that are read."""
        return ["example_id", *map(cls_column, self.layers)]

    @property
    def row_bytes(self) -> int:
        """Return the bytes of these columns per row."""
        return 8 + 2 * self.width * len(self.layers)


def measure(config: BenchmarkConfig) -> Report:
    """Measure reads, opening and memory; in data/ if it is there."""
    parent = Path("data") if Path("data").is_dir() else None  # a RAM disk has no cold pages
    with TemporaryDirectory(prefix="pkd-benchmark-", dir=parent) as directory:
        caches = write_caches(Path(directory), config)
        warm, cold = _warm(caches, config), _cold(caches, config)
        opening, memory = _opening(caches, config), _memory(caches, Path(directory), config)
    parts = (warm, cold, opening, memory)
    return Report(
        tuple(series for part in parts for series in part.series),
        tuple(quotient for part in parts for quotient in part.ratios),
        (_what_was_read(caches), *(text for part in parts for text in part.notes)),
    )


def _what_was_read(caches: Caches) -> str:
    few = min(OTHER_ROWS, len(caches.lengths))
    return (
        f"{len(caches.lengths):,} rows, {len(caches.layers)} layers × {caches.width} float16 and the example id, "
        f"{random_reads.BATCH} rows per batch, ids rising in each; HDF5 holds these layers alone; datasets and "
        f"h5py read {few:,} rows, and {min(OWN_ROWS, few):,} from a file that datasets made"
    )


def write_caches(directory: Path, config: BenchmarkConfig) -> Caches:
    """Write the caches and the files of h5py. Raises `BadCache` if there is no room for them."""
    rows = QUICK_ROWS if config.quick else MNLI_ROWS
    shape = teacher_config(config.model)
    depth, width = depth_of(shape), shape.hidden_size
    layers = pkd_skip(depth, depth // 2)
    kept = (depth - 1) + len(layers)
    few = min(OTHER_ROWS, rows)
    needed = rows * (2 * width * kept + 2 * OTHER_BYTES) + 4 * few * width * len(layers)
    check_space(directory, needed, "directory to start from", "try --quick")
    lengths = token_lengths(config.lengths, rows)
    large, hdf5, small = (str(directory / name) for name in ("arrow", "hdf5", "small"))
    note(f"writing {rows:,} rows twice below {directory}")
    synthetic_cache(Path(large), shape, lengths)
    synthetic_cache(Path(hdf5), narrow(shape), lengths, layers=layers, container="hdf5")
    synthetic_cache(Path(small), shape, np.full(FEW_ROWS, longest_at_first(lengths)), dev_lengths=lengths[:DEV_ROWS])
    caches = Caches(large, hdf5, small, f"{directory}/chunked.h5", f"{directory}/contiguous.h5", layers, lengths, width)
    warm_reads.write_h5py(Path(caches.chunked), large, caches.names, few, chunked=True)
    warm_reads.write_h5py(Path(caches.contiguous), large, caches.names, few, chunked=False)
    return caches


def longest_at_first(lengths: np.ndarray) -> int:
    """Return the tokens of the longest example in a run's first batches.

    A run on rows of that length needs the same memory for its batches.
    """
    first = BatchOrder(np.arange(len(lengths)), lengths, TRAINED_BATCH, 0).epoch(0)[:STEPS]
    return int(lengths[np.concatenate(first)].max())


def _warm(caches: Caches, config: BenchmarkConfig) -> Report:
    """Read random rows that are in memory."""
    names, lengths = caches.names, caches.lengths
    few, fewer = min(OTHER_ROWS, len(lengths)), min(OWN_ROWS, len(lengths))
    contenders = {
        random_reads.COPY: Contender(random_reads.memory_copy),
        ARROW: Contender(warm_reads.warm_cache, ARROW, caches.large, names, lengths),
        HDF5: Contender(warm_reads.warm_cache, HDF5, caches.hdf5, names, lengths),
        warm_reads.DATASETS: Contender(
            warm_reads.warm_datasets, warm_reads.DATASETS, caches.large, names, few, lengths
        ),
        warm_reads.DATASETS_OWN: Contender(
            warm_reads.warm_datasets, warm_reads.DATASETS_OWN, caches.large, names, fewer, lengths
        ),
        warm_reads.CHUNKED: Contender(warm_reads.warm_h5py, warm_reads.CHUNKED, caches.chunked, names, lengths),
        warm_reads.CONTIGUOUS: Contender(
            warm_reads.warm_h5py, warm_reads.CONTIGUOUS, caches.contiguous, names, lengths
        ),
    }
    measured = interleave(contenders, _pace(config), "benchmark reader, warm")
    copy = Series(random_reads.COPY, "bytes/s", measured[random_reads.COPY].values)
    rates = {name: Series(name, "rows/s", measured[name].values) for name in contenders if name != random_reads.COPY}
    shares = []
    for name in (ARROW, HDF5):
        in_bytes = Series(name, "bytes/s", tuple(rate * caches.row_bytes for rate in rates[name].values))
        shares.append(ratio(f"bytes/s {name} / memory copy", in_bytes, copy, at_least=0.25))
    return Report(
        (copy, *rates.values()),
        (
            *shares,
            ratio("rows/s / datasets, its own file", rates[ARROW], rates[warm_reads.DATASETS_OWN], at_least=50),
            ratio("rows/s / datasets, on these shards", rates[ARROW], rates[warm_reads.DATASETS]),
            ratio("rows/s / h5py, chunked", rates[ARROW], rates[warm_reads.CHUNKED], at_least=100),
            ratio("rows/s / h5py, contiguous", rates[ARROW], rates[warm_reads.CONTIGUOUS]),
        ),
    )


def _pace(config: BenchmarkConfig) -> Pace:
    return Pace(min(2, config.rounds), 0.5) if config.quick else Pace(config.rounds, 1.5)


def _cold(caches: Caches, config: BenchmarkConfig) -> Report:
    """Read the first tenth of a different epoch per round, each time after eviction from memory."""
    if not hasattr(os, "posix_fadvise"):
        return Report((), (), ("cold reads are not measured here: only Linux removes pages from memory on request",))
    rounds, seconds = (min(2, config.rounds), 2.5) if config.quick else (min(3, config.rounds), 6.0)
    arguments = caches.large, caches.layers, caches.lengths, seconds
    rates: dict[str, list[float]] = {}
    with (
        Contender(cold_reads.cold_cache, *arguments) as ours,
        Contender(cold_reads.cold_mapped, *arguments) as plain,
    ):
        for number in range(rounds):
            for contender in (ours, plain):
                for name, (rows, taken) in contender(number).items():
                    rates.setdefault(name, []).append(rows / taken)
    series = {name: Series(name, "rows/s", tuple(values)) for name, values in rates.items()}
    cold, mapped, repeated = (
        series[name] for name in (cold_reads.COLD, cold_reads.COLD_MAPPED, cold_reads.WARM_MAPPED)
    )
    return Report(
        tuple(series.values()),
        (
            ratio("rows/s cold / plain mmap", cold, mapped, at_least=4),
            ratio("rows/s warm / cold, plain mmap", repeated, mapped),
        ),
    )


def _opening(caches: Caches, config: BenchmarkConfig) -> Report:
    """Open the cache and read a batch, each time in a fresh process."""
    states = (False, True) if hasattr(os, "posix_fadvise") else (False,)
    seconds: dict[str, list[float]] = {}
    for _ in range(1 if config.quick else min(3, config.rounds)):
        for cold in states:
            with Contender(cold_reads.opening, caches.large, caches.layers, cold) as contender:
                for name, (taken, _) in contender(1).items():
                    seconds.setdefault(name, []).append(taken)
    opened, first = [], []
    for name, values in seconds.items():
        if name.startswith(cold_reads.OPENING):
            opened.append(Ratio(name, "s", tuple(values), at_most=0.5))
        else:
            first.append(Series(name, "s", tuple(values)))
    return Report(tuple(first), tuple(opened))


def _memory(caches: Caches, directory: Path, config: BenchmarkConfig) -> Report:
    """Measure the private memory of a run on the large cache and on the small one."""
    if not sys.platform.startswith("linux"):
        return Report((), (), ("the memory of train-student is not measured here: only Linux reports it",))
    peaks: dict[str, list[float]] = {"large": [], "small": []}
    for number in range(1 if config.quick else 2):
        for name, cache in (("large", caches.large), ("small", caches.small)):
            run = directory / f"run-{name}-{number}"
            peaks[name].append(peak_of_training(cache, run, directory / "store", TRAINED_BATCH, STEPS))
    rows = len(caches.lengths)
    large = Series(f"private memory of train-student, {rows:,} rows", "MB", tuple(peaks["large"]))
    small = Series(f"private memory of train-student, {FEW_ROWS:,} rows", "MB", tuple(peaks["small"]))
    return Report((large, small), (ratio("private memory, large / small cache", large, small, at_most=1.10),))
