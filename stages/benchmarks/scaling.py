"""Benchmark `growth`: seconds and bytes as the work grows, at several sizes of it, and the line through the points."""

import tempfile
from pathlib import Path

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.models.encoders import depth_of
from pipeline.teacher.preflight import check_space
from stages.benchmarks.contenders import scaling_contenders
from stages.benchmarks.harness.synthetic import MNLI_ROWS, teacher_config
from stages.benchmarks.harness.timing import Report
from stages.benchmarks.scaling_lines import (
    CacheFactory,
    Sizes,
    caches,
    layers_kept,
    prefixes,
    shards,
    student_depth,
    trials,
)

READERS = (1, 2, 4, 8)  # trials at the same time


def sizes_of(config: BenchmarkConfig) -> Sizes:
    """Return the amounts of work for this command."""
    if config.quick:
        rows, shards = (2_000, 4_000, 8_000), (4, 16, 64)
        return Sizes(1, rows, 2_000, 4_000, (1, 2, 4), shards, 512, 4, 8, 2, 1_500_000_000)
    rows = (MNLI_ROWS // 16, MNLI_ROWS // 4, MNLI_ROWS)
    rounds, shards = min(2, config.rounds), (10, 100, 500)
    return Sizes(rounds, rows, MNLI_ROWS // 16, MNLI_ROWS // 8, READERS, shards, 10_000, 4, 32, 4, 5_000_000_000)


def measure(config: BenchmarkConfig) -> Report:
    """Measure every line. Raises `BadCache` if there is no room for the caches."""
    sizes, shape, small = sizes_of(config), teacher_config(config.model), teacher_config("demo")
    check_space(Path(tempfile.gettempdir()), sizes.bytes, "TMPDIR", "try --quick")
    with tempfile.TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        factory = CacheFactory(Path(directory), shape, config)
        lines = [
            *caches(factory, sizes),
            *layers_kept(factory, sizes),
            *shards(factory, sizes),
            *student_depth(factory, sizes, shared := factory.write(sizes.read, factory.layers)[0]),
            *trials(factory, sizes, shared),
            *prefixes(CacheFactory(Path(directory), small, config), sizes),
        ]
    series = tuple(series for line in lines for _, series in line.points)
    return Report(series, (), (*notes(factory, sizes), *(line.sentence() for line in lines)), tuple(lines))


def notes(factory: CacheFactory, sizes: Sizes) -> tuple[str, ...]:
    """Return sentences on what was measured, for below the table."""
    layers, small = depth_of(factory.shape), teacher_config("demo")
    return (
        f"{factory.shape.hidden_size} wide, [CLS] of {len(factory.layers)} of {layers - 1} layers unless stated "
        f"otherwise; lengths {factory.config.lengths}; files in memory where there is room; "
        f"reading is an epoch of batches of {scaling_contenders.BATCH} with their tokens and targets, on one thread",
        f"caching and training: a teacher of {depth_of(small)} layers, {small.hidden_size} wide, a student of "
        f"{depth_of(small) // 2}, measured at marks; student depth: of the {layers}-layer teacher, batch "
        f"{sizes.batch_size}",
    )
