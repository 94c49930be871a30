"""Rows at random from an MNLI-sized cache, warm and cold, against other ways; opening it; the memory of a run on it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from stages.benchmarks.contenders import reader_contenders
from stages.benchmarks.harness.measurements import Ratio, Series, ratio
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
OWN_ROWS = 4096  # of the file that `datasets` makes itself, at some hundred rows a second
OTHER_BYTES = 500  # of a row without its [CLS] vectors, at most
ARROW, HDF5 = "gathered, Arrow", "gathered, HDF5"
STEPS, TRAINED_BATCH = 1, 32  # of the runs whose memory is measured
SAMPLE_SECONDS = 0.05
PROGRAM = Path(__file__).parents[2] / "cli.py"


@dataclass(frozen=True)
class Caches:
    """What is read: all layers in Arrow, the matched ones in HDF5 and with h5py, and a cache of 1,000 rows."""

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
        return ["example_id", *map(cls_column, self.layers)]

    @property
    def row_bytes(self) -> int:
        return 8 + 2 * self.width * len(self.layers)


def measure(config: BenchmarkConfig) -> Report:
    place = Path("data") if Path("data").is_dir() else None  # a RAM disk has no cold pages
    with TemporaryDirectory(prefix="pkd-benchmark-", dir=place) as directory:
        caches = write_caches(Path(directory), config)
        warm, cold = _warm(caches, config), _cold(caches, config)
        opening, memory = _opening(caches, config), _memory(caches, Path(directory), config)
    parts = (warm, cold, opening, memory)
    return Report(
        tuple(series for part in parts for series in part.series),
        tuple(found for part in parts for found in part.ratios),
        (_what_was_read(caches), *(text for part in parts for text in part.notes)),
    )


def _what_was_read(caches: Caches) -> str:
    few = min(OTHER_ROWS, len(caches.lengths))
    return (
        f"{len(caches.lengths):,} rows, {len(caches.layers)} layers × {caches.width} float16 and the example id, "
        f"{reader_contenders.BATCH} rows per batch, ids rising in each; HDF5 holds these layers alone; datasets and "
        f"h5py read {few:,} rows, and {min(OWN_ROWS, few):,} from a file that datasets made"
    )


def write_caches(directory: Path, config: BenchmarkConfig) -> Caches:
    """Raises `BadCache` where there is no room for them."""
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
    reader_contenders.write_h5py(Path(caches.chunked), large, caches.names, few, chunked=True)
    reader_contenders.write_h5py(Path(caches.contiguous), large, caches.names, few, chunked=False)
    return caches


def longest_at_first(lengths: np.ndarray) -> int:
    """Tokens of the longest example in a run's first batches: rows of so many cost the other run the same memory."""
    first = BatchOrder(np.arange(len(lengths)), lengths, TRAINED_BATCH, 0).epoch(0)[:STEPS]
    return int(lengths[np.concatenate(first)].max())


def _warm(caches: Caches, config: BenchmarkConfig) -> Report:
    names, lengths = caches.names, caches.lengths
    few, own = min(OTHER_ROWS, len(lengths)), min(OWN_ROWS, len(lengths))
    contenders = {
        reader_contenders.COPY: Contender(reader_contenders.memory_copy),
        ARROW: Contender(reader_contenders.warm_cache, ARROW, caches.large, names, lengths),
        HDF5: Contender(reader_contenders.warm_cache, HDF5, caches.hdf5, names, lengths),
        reader_contenders.DATASETS: Contender(
            reader_contenders.warm_datasets, reader_contenders.DATASETS, caches.large, names, few, lengths
        ),
        reader_contenders.DATASETS_OWN: Contender(
            reader_contenders.warm_datasets, reader_contenders.DATASETS_OWN, caches.large, names, own, lengths
        ),
        reader_contenders.CHUNKED: Contender(
            reader_contenders.warm_h5py, reader_contenders.CHUNKED, caches.chunked, names, lengths
        ),
        reader_contenders.CONTIGUOUS: Contender(
            reader_contenders.warm_h5py, reader_contenders.CONTIGUOUS, caches.contiguous, names, lengths
        ),
    }
    found = interleave(contenders, _pace(config), "benchmark reader, warm")
    copy = Series(reader_contenders.COPY, "bytes/s", found[reader_contenders.COPY].values)
    rates = {what: Series(what, "rows/s", found[what].values) for what in contenders if what != reader_contenders.COPY}
    shares = []
    for what in (ARROW, HDF5):
        in_bytes = Series(what, "bytes/s", tuple(rate * caches.row_bytes for rate in rates[what].values))
        shares.append(ratio(f"bytes/s {what} / memory copy", in_bytes, copy, at_least=0.25))
    return Report(
        (copy, *rates.values()),
        (
            *shares,
            ratio("rows/s / datasets, its own file", rates[ARROW], rates[reader_contenders.DATASETS_OWN], at_least=50),
            ratio("rows/s / datasets, on these shards", rates[ARROW], rates[reader_contenders.DATASETS]),
            ratio("rows/s / h5py, chunked", rates[ARROW], rates[reader_contenders.CHUNKED], at_least=100),
            ratio("rows/s / h5py, contiguous", rates[ARROW], rates[reader_contenders.CONTIGUOUS]),
        ),
    )


def _pace(config: BenchmarkConfig) -> Pace:
    return Pace(min(2, config.rounds), 0.5) if config.quick else Pace(config.rounds, 1.5)


def _cold(caches: Caches, config: BenchmarkConfig) -> Report:
    """The first tenth of another epoch each round, from the same evicted state."""
    if not hasattr(os, "posix_fadvise"):
        return Report((), (), ("cold reads are not measured here: only Linux takes pages out of memory on request",))
    rounds, seconds = (min(2, config.rounds), 2.5) if config.quick else (min(3, config.rounds), 6.0)
    arguments = caches.large, caches.layers, caches.lengths, seconds
    rates: dict[str, list[float]] = {}
    with (
        Contender(reader_contenders.cold_cache, *arguments) as ours,
        Contender(reader_contenders.cold_mapped, *arguments) as plain,
    ):
        for number in range(rounds):
            for contender in (ours, plain):
                for what, (rows, taken) in contender(number).items():
                    rates.setdefault(what, []).append(rows / taken)
    series = {what: Series(what, "rows/s", tuple(values)) for what, values in rates.items()}
    cold, mapped, again = (
        series[what] for what in (reader_contenders.COLD, reader_contenders.COLD_MAPPED, reader_contenders.WARM_MAPPED)
    )
    return Report(
        tuple(series.values()),
        (
            ratio("rows/s cold / plain mmap", cold, mapped, at_least=4),
            ratio("rows/s warm / cold, plain mmap", again, mapped),
        ),
    )


def _opening(caches: Caches, config: BenchmarkConfig) -> Report:
    """Each time in a fresh process."""
    states = (False, True) if hasattr(os, "posix_fadvise") else (False,)
    seconds: dict[str, list[float]] = {}
    for _ in range(1 if config.quick else min(3, config.rounds)):
        for cold in states:
            with Contender(reader_contenders.opening, caches.large, caches.layers, cold) as contender:
                for what, (taken, _one) in contender(1).items():
                    seconds.setdefault(what, []).append(taken)
    opened, first = [], []
    for what, values in seconds.items():
        if what.startswith(reader_contenders.OPENING):
            opened.append(Ratio(what, "s", tuple(values), at_most=0.5))
        else:
            first.append(Series(what, "s", tuple(values)))
    return Report(tuple(first), tuple(opened))


def _memory(caches: Caches, directory: Path, config: BenchmarkConfig) -> Report:
    """The private memory of a real run, on the large cache and on the small one."""
    if not sys.platform.startswith("linux"):
        return Report((), (), ("the memory of train-student is not measured here: only Linux tells what is private",))
    peaks: dict[str, list[float]] = {"large": [], "small": []}
    for number in range(1 if config.quick else 2):
        for what, cache in (("large", caches.large), ("small", caches.small)):
            peaks[what].append(peak_of_training(cache, directory / f"run-{what}-{number}", directory / "store"))
    rows = len(caches.lengths)
    large = Series(f"private memory of train-student, {rows:,} rows", "MB", tuple(peaks["large"]))
    small = Series(f"private memory of train-student, {FEW_ROWS:,} rows", "MB", tuple(peaks["small"]))
    return Report((large, small), (ratio("private memory, large / small cache", large, small, at_most=1.10),))


def peak_of_training(cache: str, out: Path, store: Path) -> float:
    """MB of private memory that `train-student` had at most, sampled every 50 ms. Raises RuntimeError if it fails."""
    words = ["train-student", "--cache", cache, "--method", "pkd-skip", "--student-layers", "2"]
    words += ["--batch-size", str(TRAINED_BATCH), "--max-steps", str(STEPS), "--select", "last", "--out", str(out)]
    with _running(words, out.with_suffix(".txt"), {**os.environ, "PKD_STORE": str(store)}) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, private_kilobytes(process.pid))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"train-student failed: {out.with_suffix('.txt').read_text()[-500:]}")
    return peak / 1000


@contextmanager
def _running(words: list[str], log: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """The program with these words, its lines in `log`; ended when the block is left early."""
    with log.open("wb") as lines:
        process = subprocess.Popen([sys.executable, str(PROGRAM), *words], stdout=lines, stderr=lines, env=environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def private_kilobytes(process: int) -> int:
    """Of memory that no file backs. 0 when the process has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 // 1000 for line in lines if line.startswith("RssAnon:")), 0)
