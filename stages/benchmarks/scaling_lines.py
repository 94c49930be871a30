"""Lines of benchmark `growth`: each function writes caches, measures them and returns straight lines."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.format.manifest import MANIFEST, Manifest
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.distillation.layer_map import pkd_skip
from pipeline.models.encoders import depth_of
from pipeline.system.cpu import available_cores
from pipeline.system.progress import bar
from stages.benchmarks.contenders import scaling_contenders
from stages.benchmarks.contenders.scaling_contenders import OPENING, READING, VERIFYING, StudentSetup
from stages.benchmarks.harness.lines import Line
from stages.benchmarks.harness.measurements import Series
from stages.benchmarks.harness.synthetic import narrow, synthetic_cache, token_lengths
from stages.benchmarks.harness.timing import Contender, Measured

BYTES = "bytes"
DEPTHS = (1, 2, 3, 6)  # of students
LAYERS = (0, 1, 5, 11)  # kept in a cache
MEMORY_OF = "Pss:"  # a process's memory, each shared page divided by its sharers
Points = dict[float, list[float]]  # amount of work -> one measurement per round


@dataclass(frozen=True)
class Sizes:
    """Amounts of work to measure."""

    rounds: int
    caches: tuple[int, ...]  # rows of each cache
    kept: int  # rows of the caches of more and more layers
    read: int  # rows of the cache that several processes read
    readers: tuple[int, ...]
    shards: tuple[int, ...]  # shards of one row in each cache
    trained: int  # examples
    marks: int  # points within these examples
    batch_size: int
    steps: int  # batches per depth
    bytes: int  # on disk, at BERT-base's width


@dataclass(frozen=True)
class CacheFactory:
    """A directory for synthetic caches of narrow teachers of one shape."""

    directory: Path
    shape: Any  # transformers configuration
    config: BenchmarkConfig

    @property
    def layers(self) -> tuple[int, ...]:
        """Return the layers that the students of `DEPTHS` match."""
        depth = depth_of(self.shape)
        return tuple(sorted({layer for n in DEPTHS if 1 < n <= depth for layer in pkd_skip(depth, n)}))

    def write(self, rows: int, layers: Sequence[int], **options: Any) -> tuple[str, Manifest]:
        """Write a cache; return its directory and its manifest."""
        out = self.directory / f"cache-{len(list(self.directory.iterdir()))}"
        return str(out), synthetic_cache(
            out, narrow(self.shape), token_lengths(self.config.lengths, rows), layers=layers, **options
        )


def line(name: str, unit: str, work: str, points: Mapping[float, Sequence[float]], straight_from: float = 0) -> Line:
    """Return a line with a series for each amount of work, named after it."""
    named = [(x, Series(f"{name}, {x:,.0f} {work}{'' if x == 1 else 's'}", unit, tuple(points[x]))) for x in points]
    return Line(name, unit, work, tuple(named), straight_from)


def bytes_of(manifests: Mapping[float, Manifest]) -> Points:
    """Return the bytes of the training split's shards, by amount of work."""
    shards = {x: manifest.splits["train"].shards for x, manifest in manifests.items()}
    return {x: [sum(shard.bytes for shard in records)] for x, records in shards.items()}


def times_of_use(written: Mapping[float, tuple[str, tuple[int, ...]]], rounds: int, subject: str) -> dict[str, Points]:
    """Open, verify and read caches in turn; return the seconds of each of the three, by amount of work."""
    times: dict[str, Points] = {name: {x: [] for x in written} for name in (OPENING, VERIFYING, READING)}
    with (
        Contender(scaling_contenders.open_verify_read, list(written.values())) as contender,
        bar(rounds * len(written), f"growth: {subject}", "cache") as progress,
    ):
        for _ in range(rounds):
            for number, x in enumerate(written):
                for name, (_, seconds) in contender(number).items():
                    times[name][x].append(seconds)
                progress.update()
    return times


def caches(factory: CacheFactory, sizes: Sizes) -> list[Line]:
    """Measure caches of more and more rows."""
    written = {float(rows): factory.write(rows, factory.layers) for rows in sizes.caches}
    times = times_of_use({x: (cache, factory.layers) for x, (cache, _) in written.items()}, sizes.rounds, "rows")
    for cache, _ in written.values():
        shutil.rmtree(cache)
    return [
        line("bytes of its shards", "bytes", "row", bytes_of({x: manifest for x, (_, manifest) in written.items()})),
        *(line(f"{name} a cache", "s", "row", points) for name, points in times.items()),
    ]


def layers_kept(factory: CacheFactory, sizes: Sizes) -> list[Line]:
    """Measure caches of more and more layers, all of which are read."""
    kept = [tuple(range(1, n + 1)) for n in LAYERS if n < depth_of(factory.shape)]
    written = {float(len(layers)): (*factory.write(sizes.kept, layers), layers) for layers in kept}
    times = times_of_use({x: (cache, layers) for x, (cache, _, layers) in written.items()}, sizes.rounds, "layers")
    for cache, _, _ in written.values():
        shutil.rmtree(cache)
    totals = bytes_of({x: manifest for x, (_, manifest, _) in written.items()})
    return [
        line(
            f"{BYTES} a row",
            BYTES,
            "layer",
            {x: [value / sizes.kept for value in values] for x, values in totals.items()},
        ),
        line(f"reading {sizes.kept:,} rows", "s", "layer", times[READING]),
    ]


def shards(factory: CacheFactory, sizes: Sizes) -> list[Line]:
    """Measure caches of more and more shards, each of one row with all layers."""
    layers = tuple(range(1, depth_of(factory.shape)))
    written = {
        float(n + 1): factory.write(n, layers, shard_rows=1, dev_lengths=token_lengths(factory.config.lengths, 1))[0]
        for n in sizes.shards
    }
    texts: Points = {x: [(Path(cache) / MANIFEST).stat().st_size] for x, cache in written.items()}
    times = times_of_use({x: (cache, layers) for x, cache in written.items()}, sizes.rounds, "shards")
    return [line("bytes of the manifest", "bytes", "shard", texts), line("opening", "s", "shard", times[OPENING])]


def student_depth(factory: CacheFactory, sizes: Sizes, cache: str) -> list[Line]:
    """Measure steps of students of more and more layers."""
    setup = StudentSetup(factory.shape, sizes.batch_size, factory.config.device)
    layers = [n for n in DEPTHS if n <= depth_of(factory.shape)]
    with Contender(scaling_contenders.depths, cache, setup, layers, sizes.steps) as contender:
        points = collected((contender(1) for _ in range(sizes.rounds)), sizes.rounds, "growth: depth")
    return [line("a step of a student", "s", "layer", points)]


def trials(factory: CacheFactory, sizes: Sizes, cache: str) -> list[Line]:
    """Measure processes that read one cache at the same time: seconds of each and, on Linux, the memory of all."""
    seconds: Points = {}
    memory: Points = {}
    with bar(sum(sizes.readers), "growth: readers", "process") as progress:
        for count in sizes.readers:
            with (
                ThreadPoolExecutor(count) as pool,
                ExitStack() as stack,
            ):  # the readers end first: threads wait for them
                contenders = [Contender(scaling_contenders.reader, cache, factory.layers) for _ in range(count)]
                readers = [stack.enter_context(contender) for contender in contenders]
                warm = list(pool.map(lambda reader: reader(1), readers))
                rounds = [list(pool.map(lambda reader: reader(1), readers)) for _ in range(sizes.rounds)]
                seconds[count] = [sum(measured[READING][1] for measured in turn) / count for turn in rounds]
                taken = [proportional_memory(int(measured["process"][0])) for measured in warm]
                memory |= {count: [float(sum(taken))]} if all(taken) else {}
            progress.update(count)
    cores = min(available_cores(), sizes.readers[-2])
    lines = [line(f"reading {sizes.read:,} rows, each of so many at once", "s", "reader", seconds, cores)]
    return lines + ([line("memory of all readers", "bytes", "reader", memory)] if memory else [])


def proportional_memory(process_id: int) -> int:
    """Return the bytes of a process, each shared page divided by its sharers; 0 where the system does not report it."""
    rollup = Path(f"/proc/{process_id}/smaps_rollup")
    if not rollup.is_file():
        return 0
    (line,) = (line for line in rollup.read_text().splitlines() if line.startswith(MEMORY_OF))
    return int(line.split()[1]) * 1024


def prefixes(factory: CacheFactory, sizes: Sizes) -> list[Line]:
    """Measure a teacher pass and a training epoch at marks within them; one round only, as they take longest."""
    layers, step = tuple(range(1, depth_of(factory.shape))), sizes.trained // sizes.marks
    cache, _ = factory.write(sizes.trained, layers, shard_rows=sizes.trained)
    out, device = str(factory.directory / "written"), factory.config.device
    setup = StudentSetup(factory.shape, sizes.batch_size, device)
    with (
        Contender(scaling_contenders.caching, cache, factory.shape, out, step, device) as teacher,
        Contender(scaling_contenders.training, cache, setup, depth_of(factory.shape) // 2, step) as student,
    ):
        cached = collected((teacher(1) for _ in range(1)), 1, "growth: caching")
        trained = collected((student(1) for _ in range(1)), 1, "growth: training")
    return [line("caching", "s", "example", cached), line("training", "s", "example", trained)]


def collected(turns: Iterable[Measured], rounds: int, description: str) -> Points:
    """Return the measurements of all turns, by amount of work."""
    points: Points = {}
    with bar(rounds, description, "turn") as progress:
        for turn in turns:
            for x, y in turn.values():
                points.setdefault(x, []).append(y)
            progress.update()
    return points
