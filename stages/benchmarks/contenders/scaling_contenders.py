"""What runs in the processes of `benchmark growth`. Each function builds a turn; a turn returns (amount of work,
seconds) of everything that it timed.
"""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.cache.full_check import damaged_files
from pipeline.cache.open import open_cache
from pipeline.cache.shard_writer import write_shard
from pipeline.config.training import TrainStudentConfig
from pipeline.data.batching import BatchOrder, collate
from pipeline.data.splits import Split, shard_ranges
from pipeline.distillation.layer_map import pkd_skip
from pipeline.distillation.losses import Objective
from pipeline.distillation.targets import CachedTargets
from pipeline.models.accelerator import make_accelerator, resolve_precision
from pipeline.models.checkpoints import build_classifier
from pipeline.models.encoders import cut_config, depth_of
from pipeline.system.cpu import available_cores
from pipeline.teacher.forward import teacher_pass
from pipeline.training.learner import EncoderLearner, Part
from stages.benchmarks.harness.timing import Measured

OPENING, VERIFYING, READING = "opening", "verifying", "reading"
BATCH = 32
OPENINGS = 3  # in a turn; they are short
WARM_STEPS = 3


@dataclass(frozen=True)
class Training:
    """A student of `layers` layers of a teacher of this shape, in batches of `batch_size`."""

    teacher_config: Any  # of transformers
    batch_size: int
    device: str  # auto, cpu or cuda

    def learner(self, layers: int) -> EncoderLearner:
        """KD where the student has no layer to match, else PKD-Skip."""
        matched = pkd_skip(depth_of(self.teacher_config), layers) if layers > 1 else ()
        objective = Objective(0.5, 100.0 if matched else 0.0, 5.0, "reference", matched)
        student = build_classifier(cut_config(self.teacher_config, layers))
        accelerator = make_accelerator(resolve_precision("auto"), self.device)
        return EncoderLearner(student, objective, TrainStudentConfig(cache="", lr=5e-5), accelerator, 0)


def trained(learner: EncoderLearner, split: Split, signals: CachedTargets, ids: np.ndarray, step: int) -> None:
    """One step over these examples; it is done when this returns, on a GPU too."""
    batch = collate(split, ids, 0).to(learner.accelerator.device)
    targets = signals.for_batch(batch, learner.layers)
    learner.step([Part(batch, targets, 1.0)], step % 1000, 1000).sum().item()


def read_epoch(split: Split, layers: Sequence[int]) -> None:
    """Order an epoch, and make every batch with its targets, as a training does."""
    signals = CachedTargets(split)
    for ids in BatchOrder(np.arange(len(split)), split.lengths, BATCH, 0).epoch(0):
        signals.for_batch(collate(split, ids, 0), layers)


def use(caches: Sequence[tuple[str, tuple[int, ...]]]) -> Callable[[int], Measured]:
    """A turn opens the cache of this number, checks it whole as `cache verify` does, and reads an epoch with the
    [CLS] vectors of these layers; one unit of work each.
    """
    torch.set_num_threads(1)

    def turn(number: int) -> Measured:
        location, layers = caches[number]
        started = time.perf_counter()
        for _ in range(OPENINGS):
            cache = open_cache(location)
        opened = time.perf_counter()
        damaged = damaged_files(Path(location), cache.manifest, lambda _: None)
        assert not damaged, damaged
        verified = time.perf_counter()
        read_epoch(cache.splits["train"], layers)
        ended = time.perf_counter()
        times = {OPENING: (opened - started) / OPENINGS, VERIFYING: verified - opened, READING: ended - verified}
        return {what: (1, seconds) for what, seconds in times.items()}

    turn(0)  # imports, and the processor's caches
    return turn


def reader(location: str, layers: tuple[int, ...]) -> Callable[[int], Measured]:
    """A turn reads so many epochs, as a trial does; its process id is under "process"."""
    torch.set_num_threads(1)
    split = open_cache(location).splits["train"]

    def turn(epochs: int) -> Measured:
        started = time.perf_counter()
        for _ in range(epochs):
            read_epoch(split, layers)
        return {READING: (epochs, time.perf_counter() - started), "process": (os.getpid(), 0)}

    return turn


def caching(location: str, config: Any, out: str, shard_rows: int, device: str) -> Callable[[int], Measured]:
    """A turn runs a teacher over the training examples of this cache (one shard) and writes shards of `shard_rows`.

    It returns what was done after each shard, and after how many seconds.
    """
    cache = open_cache(location)
    split, types = cache.splits["train"], cache.manifest.column_types()
    accelerator = make_accelerator(resolve_precision("auto"), device)
    context = teacher_pass(build_classifier(config), accelerator, cache.manifest, available_cores())
    running = context.__enter__()
    running.tokens_a_second(split, 0, len(split))  # warm

    def turn(_: int, context: Any = context) -> Measured:  # while the turn lives, so does the pass
        marks: dict[str, tuple[float, float]] = {}
        started = time.perf_counter()
        for index, (start, stop) in enumerate(shard_ranges(len(split), shard_rows)):
            columns = running.shard(split, start, stop, lambda _: None)
            file = f"train/{index:05d}.arrow"
            write_shard(Path(out) / file, file, "arrow", columns, types)
            marks[str(stop)] = stop, time.perf_counter() - started
        return marks

    return turn


def training(location: str, of: Training, layers: int, examples_a_mark: int) -> Callable[[int], Measured]:
    """A turn trains a new student for an epoch. It returns what was done every so many examples, and after how many
    seconds.
    """
    split = open_cache(location).splits["train"]
    signals = CachedTargets(split)
    batches = BatchOrder(np.arange(len(split)), split.lengths, of.batch_size, 0).epoch(0)

    def turn(_: int) -> Measured:
        learner = of.learner(layers)
        for step, ids in enumerate(batches[:WARM_STEPS]):
            trained(learner, split, signals, ids, step)
        marks: dict[str, tuple[float, float]] = {}
        done, started = 0, time.perf_counter()
        for step, ids in enumerate(batches):
            trained(learner, split, signals, ids, step)
            done += len(ids)
            if done // examples_a_mark > len(marks) or done == len(split):
                marks[str(len(marks))] = done, time.perf_counter() - started
        return marks

    return turn


def depths(location: str, of: Training, layers: Sequence[int], batches: int) -> Callable[[int], Measured]:
    """A turn gives each student so many steps, in turn on the same batches. It returns (layers, seconds a step)."""
    split = open_cache(location).splits["train"]
    signals = CachedTargets(split)
    chosen = BatchOrder(np.arange(len(split)), split.lengths, of.batch_size, 0).representative(batches)
    learners = {depth: of.learner(depth) for depth in layers}
    steps = itertools.count()

    def turn(times: int) -> Measured:
        seconds = dict.fromkeys(learners, 0.0)
        for _, ids, (depth, learner) in itertools.product(range(times), chosen, learners.items()):
            started = time.perf_counter()
            trained(learner, split, signals, ids, next(steps))
            seconds[depth] += time.perf_counter() - started
        return {str(depth): (depth, taken / (times * len(chosen))) for depth, taken in seconds.items()}

    turn(1)
    return turn
