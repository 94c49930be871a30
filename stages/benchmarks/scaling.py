"""Seconds and bytes as the work grows: a point for each size of it, and the straight line through the points."""

import shutil
import tempfile
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
from pipeline.teacher.preflight import check_space
from stages.benchmarks.contenders import scaling_contenders
from stages.benchmarks.contenders.scaling_contenders import OPENING, READING, VERIFYING, Training
from stages.benchmarks.harness.lines import Line
from stages.benchmarks.harness.measurements import Series
from stages.benchmarks.harness.synthetic import MNLI_ROWS, narrow, synthetic_cache, teacher_config, token_lengths
from stages.benchmarks.harness.timing import Contender, Measured, Report

DEPTHS = (1, 2, 3, 6)  # of students
LAYERS = (0, 1, 5, 11)  # kept in a cache
READERS = (1, 2, 4, 8)  # trials at once
MEMORY_OF = "Pss:"  # a process's memory, what is shared divided by those that share it
Points = dict[float, list[float]]  # work -> what was measured, one value a round


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `caches` and `kept` are rows, `shards` are of one row each, `trained` are examples."""

    rounds: int
    caches: tuple[int, ...]
    kept: int
    read: int  # rows of the cache that several read
    readers: tuple[int, ...]
    shards: tuple[int, ...]
    trained: int
    marks: int  # points on the way there
    batch_size: int
    steps: int  # batches a depth
    bytes: int  # of disk, at BERT-base's width


def sizes_of(config: BenchmarkConfig) -> Sizes:
    if config.quick:
        rows, shards = (2_000, 4_000, 8_000), (4, 16, 64)
        return Sizes(1, rows, 2_000, 4_000, (1, 2, 4), shards, 512, 4, 8, 2, 1_500_000_000)
    rows = (MNLI_ROWS // 16, MNLI_ROWS // 4, MNLI_ROWS)
    rounds, shards = min(2, config.rounds), (10, 100, 500)
    return Sizes(rounds, rows, MNLI_ROWS // 16, MNLI_ROWS // 8, READERS, shards, 10_000, 4, 32, 4, 5_000_000_000)


def measure(config: BenchmarkConfig) -> Report:
    """Raises `BadCache` where there is no room for the caches."""
    sizes, shape, small = sizes_of(config), teacher_config(config.model), teacher_config("demo")
    check_space(Path(tempfile.gettempdir()), sizes.bytes, "TMPDIR", "try --quick")
    with tempfile.TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        place = Place(Path(directory), shape, config)
        lines = [
            *caches(place, sizes),
            *layers_kept(place, sizes),
            *shards(place, sizes),
            *student_depth(place, sizes, shared := place.cache(sizes.read, place.layers)[0]),
            *trials(place, sizes, shared),
            *prefixes(Place(Path(directory), small, config), sizes),
        ]
    series = tuple(series for line in lines for _, series in line.points)
    return Report(series, (), (*notes(place, sizes), *(line.sentence() for line in lines)), tuple(lines))


def notes(place: "Place", sizes: Sizes) -> tuple[str, ...]:
    """What was measured, for below the table."""
    layers, small = depth_of(place.shape), teacher_config("demo")
    return (
        f"{place.shape.hidden_size} wide, [CLS] of {len(place.layers)} of {layers - 1} layers where not said "
        f"otherwise; lengths {place.config.lengths}; files in memory where there is room; "
        f"reading is an epoch of batches of {scaling_contenders.BATCH} with their tokens and targets, on one thread",
        f"caching and training: a teacher of {depth_of(small)} layers, {small.hidden_size} wide, a student of "
        f"{depth_of(small) // 2}, looked at on the way; student depth: of the {layers}-layer teacher, batch "
        f"{sizes.batch_size}",
    )


@dataclass(frozen=True)
class Place:
    """Where caches of narrow teachers of this shape are written."""

    directory: Path
    shape: Any  # of transformers
    config: BenchmarkConfig

    @property
    def layers(self) -> tuple[int, ...]:
        """What the students of `DEPTHS` match."""
        depth = depth_of(self.shape)
        return tuple(sorted({layer for n in DEPTHS if 1 < n <= depth for layer in pkd_skip(depth, n)}))

    def cache(self, rows: int, layers: Sequence[int], **options: Any) -> tuple[str, Manifest]:
        """Where it is, and what it is."""
        to = self.directory / f"cache-{len(list(self.directory.iterdir()))}"
        return str(to), synthetic_cache(
            to, narrow(self.shape), token_lengths(self.config.lengths, rows), layers=layers, **options
        )


def line(what: str, unit: str, work: str, points: Mapping[float, Sequence[float]], straight_from: float = 0) -> Line:
    """A series for each amount of work, named after it."""
    named = [(x, Series(f"{what}, {x:,.0f} {work}{'' if x == 1 else 's'}", unit, tuple(points[x]))) for x in points]
    return Line(what, unit, work, tuple(named), straight_from)


def bytes_of(manifests: Mapping[float, Manifest]) -> Points:
    """Of the shards of the training split."""
    shards = {x: manifest.splits["train"].shards for x, manifest in manifests.items()}
    return {x: [sum(shard.bytes for shard in of_split)] for x, of_split in shards.items()}


def used(made: Mapping[float, tuple[str, tuple[int, ...]]], rounds: int, about: str) -> dict[str, Points]:
    """Caches opened, checked and read, in turn: for each of these, seconds by amount of work."""
    found: dict[str, Points] = {what: {x: [] for x in made} for what in (OPENING, VERIFYING, READING)}
    with (
        Contender(scaling_contenders.use, list(made.values())) as contender,
        bar(rounds * len(made), f"growth: {about}", "cache") as progress,
    ):
        for _ in range(rounds):
            for number, x in enumerate(made):
                for what, (_, seconds) in contender(number).items():
                    found[what][x].append(seconds)
                progress.update()
    return found


def caches(place: Place, sizes: Sizes) -> list[Line]:
    """Caches of growing numbers of rows."""
    made = {float(rows): place.cache(rows, place.layers) for rows in sizes.caches}
    times = used({x: (to, place.layers) for x, (to, _) in made.items()}, sizes.rounds, "rows")
    for to, _ in made.values():
        shutil.rmtree(to)
    return [
        line("bytes of its shards", "bytes", "row", bytes_of({x: manifest for x, (_, manifest) in made.items()})),
        *(line(f"{what} a cache", "s", "row", points) for what, points in times.items()),
    ]


def layers_kept(place: Place, sizes: Sizes) -> list[Line]:
    """Caches of more and more layers, of which all are read."""
    kept = [tuple(range(1, n + 1)) for n in LAYERS if n < depth_of(place.shape)]
    made = {float(len(layers)): (*place.cache(sizes.kept, layers), layers) for layers in kept}
    times = used({x: (to, layers) for x, (to, _, layers) in made.items()}, sizes.rounds, "layers")
    for to, _, _ in made.values():
        shutil.rmtree(to)
    whole = bytes_of({x: manifest for x, (_, manifest, _) in made.items()})
    return [
        line(
            "bytes a row",
            "bytes",
            "layer",
            {x: [value / sizes.kept for value in values] for x, values in whole.items()},
        ),
        line(f"reading {sizes.kept:,} rows", "s", "layer", times[READING]),
    ]


def shards(place: Place, sizes: Sizes) -> list[Line]:
    """Caches of growing numbers of shards, of all layers and one row each."""
    layers = tuple(range(1, depth_of(place.shape)))
    made = {
        float(n + 1): place.cache(n, layers, shard_rows=1, dev_lengths=token_lengths(place.config.lengths, 1))[0]
        for n in sizes.shards
    }
    texts: Points = {x: [(Path(to) / MANIFEST).stat().st_size] for x, to in made.items()}
    times = used({x: (to, layers) for x, to in made.items()}, sizes.rounds, "shards")
    return [line("bytes of the manifest", "bytes", "shard", texts), line("opening", "s", "shard", times[OPENING])]


def student_depth(place: Place, sizes: Sizes, cache: str) -> list[Line]:
    """Steps of students of more and more layers."""
    of = Training(place.shape, sizes.batch_size, place.config.device)
    layers = [n for n in DEPTHS if n <= depth_of(place.shape)]
    with Contender(scaling_contenders.depths, cache, of, layers, sizes.steps) as contender:
        points = collected((contender(1) for _ in range(sizes.rounds)), sizes.rounds, "growth: depth")
    return [line("a step of a student", "s", "layer", points)]


def trials(place: Place, sizes: Sizes, cache: str) -> list[Line]:
    """Processes that read one cache at once: seconds of each, and the memory of all of them (on Linux)."""
    seconds: Points = {}
    memory: Points = {}
    with bar(sum(sizes.readers), "growth: readers", "process") as progress:
        for count in sizes.readers:
            with (
                ThreadPoolExecutor(count) as pool,
                ExitStack() as stack,
            ):  # the readers end first: threads wait for them
                contenders = [Contender(scaling_contenders.reader, cache, place.layers) for _ in range(count)]
                readers = [stack.enter_context(contender) for contender in contenders]
                found = list(pool.map(lambda reader: reader(1), readers))  # warm
                rounds = [list(pool.map(lambda reader: reader(1), readers)) for _ in range(sizes.rounds)]
                seconds[count] = [sum(one[READING][1] for one in turn) / count for turn in rounds]
                taken = [proportional_memory(int(one["process"][0])) for one in found]
                memory |= {count: [float(sum(taken))]} if all(taken) else {}
            progress.update(count)
    cores = min(available_cores(), sizes.readers[-2])
    lines = [line(f"reading {sizes.read:,} rows, each of so many at once", "s", "reader", seconds, cores)]
    return lines + ([line("memory of all readers", "bytes", "reader", memory)] if memory else [])


def proportional_memory(process_id: int) -> int:
    """Bytes of a process, shared pages divided by those that share them; 0 where the system does not tell."""
    rollup = Path(f"/proc/{process_id}/smaps_rollup")
    if not rollup.is_file():
        return 0
    (line,) = (line for line in rollup.read_text().splitlines() if line.startswith(MEMORY_OF))
    return int(line.split()[1]) * 1024


def prefixes(place: Place, sizes: Sizes) -> list[Line]:
    """A teacher pass and a training epoch, looked at on the way; one round, they are the longest."""
    layers, step = tuple(range(1, depth_of(place.shape))), sizes.trained // sizes.marks
    to, _ = place.cache(sizes.trained, layers, shard_rows=sizes.trained)
    out, device = str(place.directory / "written"), place.config.device
    of = Training(place.shape, sizes.batch_size, device)
    with (
        Contender(scaling_contenders.caching, to, place.shape, out, step, device) as teacher,
        Contender(scaling_contenders.training, to, of, depth_of(place.shape) // 2, step) as student,
    ):
        cached = collected((teacher(1) for _ in range(1)), 1, "growth: caching")
        trained = collected((student(1) for _ in range(1)), 1, "growth: training")
    return [line("caching", "s", "example", cached), line("training", "s", "example", trained)]


def collected(turns: Iterable[Measured], rounds: int, description: str) -> Points:
    """What each turn measured, by amount of work."""
    points: Points = {}
    with bar(rounds, description, "turn") as progress:
        for turn in turns:
            for x, y in turn.values():
                points.setdefault(x, []).append(y)
            progress.update()
    return points
