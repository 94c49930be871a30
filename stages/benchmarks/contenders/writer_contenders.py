"""Writing of a shard in benchmark `cache`: this project's writer against `datasets`, on the same rows."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.cache.format.columns import ColumnType, cls_column
from pipeline.cache.writer import CacheWriter
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.ragged import Column
from stages.benchmarks.harness.measurements import Series, ratio
from stages.benchmarks.harness.synthetic import SHARD_ROWS, RandomColumns, identity_of, token_lengths, types_of
from stages.benchmarks.harness.timing import Contender, Measured, Pace, Report, interleave

OURS = {"arrow": "a shard written, hashed and synced, Arrow", "hdf5": "the same, HDF5"}
DECLARED = "Dataset.from_generator, a column a layer"
ONE_ARRAY = "Dataset.from_generator, one array of all layers"
FEW_ROWS, MANY_ROWS = 500, 5000  # of one call of `datasets`, about half a second


def measure(config: BenchmarkConfig, teacher: Any, layers: Sequence[int]) -> Report:
    """Time the writing of rows with the [CLS] vectors of these layers."""
    rows = SHARD_ROWS // 4 if config.quick else SHARD_ROWS
    lengths = token_lengths(config.lengths, rows)
    pace = Pace(min(2, config.rounds) if config.quick else config.rounds, 1.0)
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        contenders = {
            "ours": Contender(shards, directory, teacher, lengths, layers),
            DECLARED: Contender(from_generator, DECLARED, directory, teacher, lengths[:FEW_ROWS], layers),
            ONE_ARRAY: Contender(from_generator, ONE_ARRAY, directory, teacher, lengths[:MANY_ROWS], layers),
        }
        rates = interleave(contenders, pace, "benchmark cache, writing")
    named = {name: Series(name, "rows/s", rates[name].values) for name in (*OURS.values(), DECLARED, ONE_ARRAY)}
    ours = named[OURS["arrow"]]
    return Report(
        tuple(named.values()),
        (
            ratio("rows written / Dataset.from_generator, a column a layer", ours, named[DECLARED], at_least=40),
            ratio("rows written / Dataset.from_generator, one array", ours, named[ONE_ARRAY]),
        ),
        (
            f"written: {rows:,} rows per shard of [CLS] of {len(layers)} layers in float16, tokens, label and logits. "
            "`datasets` neither hashes nor syncs; with one array of all layers it can read no layer alone",
        ),
    )


# --- in the processes of the contenders --------------------------------------------------------------


def shards(directory: str, teacher: Any, lengths: np.ndarray, layers: Sequence[int]) -> Callable[[int], Measured]:
    """Return a turn that writes shards with the `CacheWriter` of each container, from rows in memory."""
    columns = RandomColumns(teacher, lengths, layers, len(lengths)).rows(0, len(lengths))
    types = types_of(teacher, layers)

    def run(times: int) -> Measured:
        seconds = dict.fromkeys(OURS.values(), 0.0)
        for _ in range(times):
            for container, name in OURS.items():
                with TemporaryDirectory(dir=directory) as temporary:
                    seconds[name] += write_one(Path(temporary) / "cache", container, columns, types)
        return {name: (times * len(lengths), taken) for name, taken in seconds.items()}

    return run


def write_one(directory: Path, container: str, columns: Mapping[str, Column], types: Mapping[str, ColumnType]) -> float:
    """Write one shard and its record; return the seconds."""
    writer = CacheWriter(directory, identity_of((), len(columns["label"])), container)
    writer.start()
    started = time.perf_counter()
    writer.write_shard("train", 0, columns, types)
    seconds = time.perf_counter() - started
    writer.close()
    return seconds


def from_generator(
    name: str, directory: str, teacher: Any, lengths: np.ndarray, layers: Sequence[int]
) -> Callable[[int], Measured]:
    """Return a turn of `Dataset.from_generator` over the same rows in memory, each time into a new directory."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    columns = RandomColumns(teacher, lengths, layers, len(lengths)).rows(0, len(lengths))
    one_array = name == ONE_ARRAY
    rows, features = rows_of(columns, layers, one_array), features_of(teacher, layers, one_array)

    def run(times: int) -> Measured:
        seconds = 0.0
        for _ in range(times):
            with TemporaryDirectory(dir=directory) as temporary:
                started = time.perf_counter()
                dataset_of(rows, features, Path(temporary))
                seconds += time.perf_counter() - started
        return {name: (times * len(rows), seconds)}

    return run


def dataset_of(rows: Sequence[Mapping[str, Any]], features: Any, directory: Path) -> Any:
    """Write the rows into `directory` with `datasets`.

    The fingerprint is given, because `datasets` would hash all rows to compute one.
    """
    from datasets import Dataset

    def generator() -> Iterator[Mapping[str, Any]]:
        yield from rows

    return Dataset.from_generator(generator, features, str(directory), fingerprint="benchmark")


def rows_of(columns: Mapping[str, Column], layers: Sequence[int], one_array: bool) -> list[dict[str, Any]]:
    """Return the rows as dicts of numpy values; `one_array` joins their [CLS] vectors into "cls", [K, H]."""
    count = len(columns["label"])
    rows: list[dict[str, Any]] = [{name: column[row] for name, column in columns.items()} for row in range(count)]
    for row in rows:
        row["row_hash"] = row["row_hash"].tobytes()
        if one_array:
            row["cls"] = np.stack([row.pop(cls_column(layer)) for layer in layers])
    return rows


def features_of(teacher: Any, layers: Sequence[int], one_array: bool) -> Any:
    """Return the `Features` of these rows."""
    from datasets import Array2D, Features, List, Value

    features: dict[str, Any] = {}
    for name, kind in types_of(teacher, () if one_array else layers).items():
        features[name] = Value(kind.dtype) if kind.width == 0 else List(Value(kind.dtype), length=kind.width or -1)
    features["row_hash"] = Value("binary")
    if one_array:
        features["cls"] = Array2D((len(layers), teacher.hidden_size), "float16")
    return Features(features)
