"""`cache-teacher` against the bare forward pass, and the writing of its shards against `datasets`."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pipeline.cache.format.manifest import Manifest, ModelRecord, TaskRecord
from pipeline.cache.writer import CacheWriter
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.batching import Batch, by_length, collate
from pipeline.data.splits import Split
from pipeline.models.accelerator import (
    make_accelerator,
    prepare_for_cls,
    resolve_device,
    resolve_precision,
    synchronized_clock,
)
from pipeline.models.checkpoints import build_classifier
from pipeline.models.encoders import depth_of
from pipeline.system.cpu import available_cores
from pipeline.teacher.forward import TEACHER_BATCH, TeacherPass
from pipeline.teacher.shard_workers import in_this_process, process_shards
from stages.benchmarks.contenders import writer_contenders
from stages.benchmarks.harness.measurements import Series, ratio
from stages.benchmarks.harness.synthetic import (
    LABELS,
    SHARD_ROWS,
    RandomColumns,
    identity_of,
    teacher_config,
    token_lengths,
    types_of,
)
from stages.benchmarks.harness.timing import Contender, Measured, Pace, Report, interleave

CACHING, BARE, PLAIN = "cache-teacher", "the bare forward pass", "plain torch, one batch on all cores"
ROWS = {"base": 256, "demo": 1024}  # of a shard that a CPU computes in a few seconds


@dataclass(frozen=True, eq=False)
class Shape:
    """A teacher with random weights, and the examples of one shard."""

    config: Any  # of transformers
    lengths: np.ndarray  # int64 [rows]: tokens of each example
    device: str
    precision: str

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(range(1, depth_of(self.config)))

    @cached_property
    def manifest(self) -> Manifest:
        """As much of one as the writer and the teacher ask for."""
        config = self.config
        record = ModelRecord(
            config.model_type, depth_of(config), config.hidden_size, len(LABELS), 0, 2, config.vocab_size
        )
        return Manifest(
            identity_of(self.layers, len(self.lengths)), "arrow", TaskRecord("mnli", LABELS, ("accuracy",)), record
        )

    @cached_property
    def split(self) -> Split:
        """The examples, without what a teacher makes of them."""
        columns = RandomColumns(self.config, self.lengths, (), len(self.lengths)).rows(0, len(self.lengths))
        types = types_of(self.config, ())
        return Split("train", [{name: columns[name] for name, kind in types.items() if not kind.target}], True)

    @property
    def batches(self) -> list[Batch]:
        """Those in which cache-teacher computes the shard."""
        split = self.split
        places = by_length(np.arange(len(split)), split.lengths, TEACHER_BATCH)
        return [collate(split, ids, self.manifest.model.pad_id) for ids in places]

    def model(self) -> Any:
        torch.manual_seed(0)
        return build_classifier(self.config).eval().to(self.device)


def measure(config: BenchmarkConfig) -> Report:
    shape = shape_of(config)
    pace = Pace(min(2, config.rounds), 2.0) if config.quick else Pace(config.rounds, 6.0)
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        contenders = {CACHING: Contender(caching, shape, directory), BARE: Contender(bare_forward, shape)}
        if not config.quick:
            contenders[PLAIN] = Contender(plain_torch, shape)
        found = interleave(contenders, pace, "benchmark cache")
    computed = [Series(what, "examples/s", found[what].values) for what in contenders]
    kept, *others = computed
    written = writer_contenders.measure(config, shape.config, shape.layers)
    note = (
        f"{len(shape.layers) + 1} layers, {shape.config.hidden_size} wide, {len(shape.lengths)} rows a shard, "
        f"{shape.lengths.mean():.1f} tokens in the mean ({config.lengths}), {shape.precision}"
    )
    asked = {BARE: {"at_least": 0.97}}
    against = (ratio(f"{CACHING} / {other.what}", kept, other, **asked.get(other.what, {})) for other in others)
    return Report((*computed, *written.series), (*against, *written.ratios), (note, *written.notes))


def shape_of(config: BenchmarkConfig) -> Shape:
    """Raises `BadOption` for lengths that cannot be read."""
    device = resolve_device(config.device)
    rows = SHARD_ROWS if device == "cuda" else ROWS[config.model]
    lengths = token_lengths(config.lengths, rows // 2 if config.quick else rows)
    return Shape(teacher_config(config.model), lengths, device, resolve_precision("auto"))


# --- what runs in the processes of the contenders --------------------------------------------------------------


def caching(shape: Shape, place: str) -> Callable[[int], Measured]:
    """The teacher over so many shards as `cache-teacher` runs it, each written below `place`, hashed and synced."""
    accelerator = make_accelerator(shape.precision, shape.device)
    model = prepare_for_cls(shape.model(), accelerator.device)
    running = TeacherPass(model, accelerator, shape.manifest, available_cores())  # its threads stay warm between turns

    def run(shards: int) -> Measured:
        with TemporaryDirectory(dir=place) as directory:
            return {CACHING: cache_shards(shape, running, Path(directory) / "cache", shards)}

    return run


def cache_shards(shape: Shape, running: TeacherPass, directory: Path, shards: int) -> tuple[int, float]:
    """Write `shards` shards, each of the same examples, and tell the examples and the seconds."""
    rows = len(shape.lengths)
    writer = CacheWriter(directory, shape.manifest.fields, shape.manifest.container)
    writer.start()
    pool = in_this_process(writer, {"train": shape.split}, running, _ignored, _ignored)
    started = time.perf_counter()
    process_shards(writer, [("train", index, 0, rows) for index in range(shards)], pool)
    seconds = time.perf_counter() - started
    writer.close()
    return shards * rows, seconds


def _ignored(_examples: int) -> None:
    """Nobody watches."""


def bare_forward(shape: Shape) -> Callable[[int], Measured]:
    """The same model over the same batches, one a core, ready on the device; the outputs are dropped."""
    accelerator = make_accelerator(shape.precision, shape.device)
    model = prepare_for_cls(shape.model(), accelerator.device)
    return _passes(BARE, shape, lambda inputs: model(**inputs), accelerator.autocast, available_cores())


def plain_torch(shape: Shape) -> Callable[[int], Measured]:
    """As one would write it: transformers' model as it comes, one batch after the other on torch's own threads."""
    model = shape.model()

    def autocast() -> Any:
        return torch.autocast(shape.device, torch.bfloat16, enabled=shape.precision == "bfloat16")

    return _passes(PLAIN, shape, lambda inputs: model(**inputs), autocast, lanes=0)


def _passes(
    what: str, shape: Shape, model: Callable[[Mapping[str, Any]], Any], autocast: Callable[[], Any], lanes: int
) -> Callable[[int], Measured]:
    """`model` over the batches of a shard: on `lanes` threads of one core each, or, if 0, on torch's own."""
    batches = [batch.to(torch.device(shape.device)) for batch in shape.batches]
    lanes = min(lanes, 1) if shape.device == "cuda" else lanes
    pool = ThreadPoolExecutor(max(1, lanes), initializer=torch.set_num_threads, initargs=(1,)) if lanes else None

    def one(batch: Batch) -> None:
        with torch.inference_mode(), autocast():
            model(batch.inputs)

    def run(shards: int) -> Measured:
        started = synchronized_clock(shape.device)
        for _ in range(shards):
            for _ in pool.map(one, batches) if pool else map(one, batches):
                pass
        return {what: (shards * len(shape.lengths), synchronized_clock(shape.device) - started)}

    return run
