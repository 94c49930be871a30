"""Benchmark `cache`: `cache-teacher` against the bare forward pass, and its writing of shards against `datasets`."""

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
from pipeline.teacher.shard_queue import process_shards
from pipeline.teacher.shard_workers import in_this_process
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
class TeacherShard:
    """A teacher with random weights, and the examples of one shard."""

    config: Any  # of transformers
    lengths: np.ndarray  # int64 [rows]: tokens of each example
    device: str
    precision: str

    @property
    def layers(self) -> tuple[int, ...]:
        """Return the layers whose [CLS] vectors are kept: all but the last."""
        return tuple(range(1, depth_of(self.config)))

    @cached_property
    def manifest(self) -> Manifest:
        """Return a manifest with the fields that the writer and the teacher read."""
        config = self.config
        record = ModelRecord(
            config.model_type, depth_of(config), config.hidden_size, len(LABELS), 0, 2, config.vocab_size
        )
        return Manifest(
            identity_of(self.layers, len(self.lengths)), "arrow", TaskRecord("mnli", LABELS, ("accuracy",)), record
        )

    @cached_property
    def split(self) -> Split:
        """Return the examples, without the teacher's targets."""
        columns = RandomColumns(self.config, self.lengths, (), len(self.lengths)).rows(0, len(self.lengths))
        types = types_of(self.config, ())
        return Split("train", [{name: columns[name] for name, kind in types.items() if not kind.target}], True)

    @property
    def batches(self) -> list[Batch]:
        """Return the batches in which cache-teacher computes the shard."""
        split = self.split
        batches = by_length(np.arange(len(split)), split.lengths, TEACHER_BATCH)
        return [collate(split, ids, self.manifest.model.pad_id) for ids in batches]

    def model(self) -> Any:
        """Return the teacher, in evaluation mode on the device."""
        torch.manual_seed(0)
        return build_classifier(self.config).eval().to(self.device)


def measure(config: BenchmarkConfig) -> Report:
    """Time the computing of shards, then their writing."""
    shard = shard_of(config)
    pace = Pace(min(2, config.rounds), 2.0) if config.quick else Pace(config.rounds, 6.0)
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        contenders = {CACHING: Contender(caching, shard, directory), BARE: Contender(bare_forward, shard)}
        if not config.quick:
            contenders[PLAIN] = Contender(plain_torch, shard)
        rates = interleave(contenders, pace, "benchmark cache")
    computed = [Series(name, "examples/s", rates[name].values) for name in contenders]
    ours, *references = computed
    written = writer_contenders.measure(config, shard.config, shard.layers)
    note = (
        f"{len(shard.layers) + 1} layers, {shard.config.hidden_size} wide, {len(shard.lengths)} rows per shard, "
        f"{shard.lengths.mean():.1f} tokens in the mean ({config.lengths}), {shard.precision}"
    )
    limits = {BARE: {"at_least": 0.97}}
    ratios = (ratio(f"{CACHING} / {theirs.name}", ours, theirs, **limits.get(theirs.name, {})) for theirs in references)
    return Report((*computed, *written.series), (*ratios, *written.ratios), (note, *written.notes))


def shard_of(config: BenchmarkConfig) -> TeacherShard:
    """Return the shard to measure with. Raises `BadOption` for lengths that cannot be read."""
    device = resolve_device(config.device)
    rows = SHARD_ROWS if device == "cuda" else ROWS[config.model]
    lengths = token_lengths(config.lengths, rows // 2 if config.quick else rows)
    return TeacherShard(teacher_config(config.model), lengths, device, resolve_precision("auto"))


# --- in the processes of the contenders --------------------------------------------------------------


def caching(shard: TeacherShard, directory: str) -> Callable[[int], Measured]:
    """Run the teacher over shards as `cache-teacher` does; each is written to `directory`, hashed and synced."""
    accelerator = make_accelerator(shard.precision, shard.device)
    model = prepare_for_cls(shard.model(), accelerator.device)
    running = TeacherPass(model, accelerator, shard.manifest, available_cores())  # its threads stay warm between turns

    def run(shards: int) -> Measured:
        with TemporaryDirectory(dir=directory) as temporary:
            return {CACHING: cache_shards(shard, running, Path(temporary) / "cache", shards)}

    return run


def cache_shards(shard: TeacherShard, running: TeacherPass, directory: Path, shards: int) -> tuple[int, float]:
    """Write `shards` shards, each of the same examples; return the examples and the seconds."""
    rows = len(shard.lengths)
    writer = CacheWriter(directory, shard.manifest.fields, shard.manifest.container)
    writer.start()
    pool = in_this_process(writer, {"train": shard.split}, running, _ignored, _ignored)
    started = time.perf_counter()
    process_shards(writer, [("train", index, 0, rows) for index in range(shards)], pool)
    seconds = time.perf_counter() - started
    writer.close()
    return shards * rows, seconds


def _ignored(_examples: int) -> None:
    """Show no progress."""


def bare_forward(shard: TeacherShard) -> Callable[[int], Measured]:
    """Run the same model over the same batches, one per core, ready on the device; drop the outputs."""
    accelerator = make_accelerator(shard.precision, shard.device)
    model = prepare_for_cls(shard.model(), accelerator.device)
    return _passes(BARE, shard, lambda inputs: model(**inputs), accelerator.autocast, available_cores())


def plain_torch(shard: TeacherShard) -> Callable[[int], Measured]:
    """Run transformers' model unchanged, one batch after the other on torch's own threads."""
    model = shard.model()

    def autocast() -> Any:
        return torch.autocast(shard.device, torch.bfloat16, enabled=shard.precision == "bfloat16")

    return _passes(PLAIN, shard, lambda inputs: model(**inputs), autocast, lanes=0)


def _passes(
    name: str, shard: TeacherShard, model: Callable[[Mapping[str, Any]], Any], autocast: Callable[[], Any], lanes: int
) -> Callable[[int], Measured]:
    """Return a turn of `model` over a shard's batches, on `lanes` threads of one core each or, if 0, on torch's."""
    batches = [batch.to(torch.device(shard.device)) for batch in shard.batches]
    lanes = min(lanes, 1) if shard.device == "cuda" else lanes
    pool = ThreadPoolExecutor(max(1, lanes), initializer=torch.set_num_threads, initargs=(1,)) if lanes else None

    def forward(batch: Batch) -> None:
        with torch.inference_mode(), autocast():
            model(batch.inputs)

    def run(shards: int) -> Measured:
        started = synchronized_clock(shard.device)
        for _ in range(shards):
            for _ in pool.map(forward, batches) if pool else map(forward, batches):
                pass
        return {name: (shards * len(shard.lengths), synchronized_clock(shard.device) - started)}

    return run
