"""Work that benchmark `growth` times: each function builds a turn.

A turn returns (amount of work, seconds) of everything that it timed.
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

from pipeline.cache.format.columns import LOGITS, cls_column
from pipeline.cache.full_check import damaged_files
from pipeline.cache.open import open_cache
from pipeline.cache.shard_writer import write_shard
from pipeline.config.methods import METHODS
from pipeline.config.shared import TrainingConfig
from pipeline.data.batching import BatchOrder, collate
from pipeline.data.splits import Split, shard_ranges
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.distillation.layer_map import pkd_skip
from pipeline.distillation.objective import objective_of
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
OPENINGS = 3  # per turn; they are short
WARM_STEPS = 3


@dataclass(frozen=True)
class StudentSetup:
    """Teacher shape, batch size and device of students in training."""

    teacher_config: Any  # of transformers
    batch_size: int
    device: str  # auto, cpu or cuda

    def learner(self, layers: int) -> EncoderLearner:
        """Return a learner of a student of so many layers: KD if it has no layer to match, else PKD-Skip."""
        method = METHODS["pkd-skip" if layers > 1 else "kd"]
        matched = pkd_skip(depth_of(self.teacher_config), layers)
        numbers = {"alpha": 0.5, "temperature": 5.0, "beta": 100.0}
        objective = objective_of(method, SINGLE_LABEL, matched, "reference", numbers)
        student = build_classifier(cut_config(self.teacher_config, layers))
        accelerator = make_accelerator(resolve_precision("auto"), self.device)
        return EncoderLearner(student, objective, TrainingConfig(lr=5e-5), accelerator, 0)


def train_step(learner: EncoderLearner, split: Split, source: CachedTargets, ids: np.ndarray, step: int) -> None:
    """Train one step on these examples, and wait until it is done, on a GPU too."""
    batch = collate(split, ids, 0).to(learner.accelerator.device)
    targets = source.for_batch(batch, learner.columns)
    learner.step([Part(batch, targets, 1.0)], step % 1000, 1000).sum().item()


def read_epoch(split: Split, layers: Sequence[int]) -> None:
    """Order an epoch, and make every batch with its targets, as a training does."""
    source, columns = CachedTargets(split), [LOGITS, *map(cls_column, layers)]
    for ids in BatchOrder(np.arange(len(split)), split.lengths, BATCH, 0).epoch(0):
        source.for_batch(collate(split, ids, 0), columns)


def open_verify_read(caches: Sequence[tuple[str, tuple[int, ...]]]) -> Callable[[int], Measured]:
    """Return a turn that opens the cache of the given number, verifies every byte, and reads an epoch.

    `caches` are directories and the layers that are read. Each of the three is one unit of work.
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
        return {name: (1, seconds) for name, seconds in times.items()}

    turn(0)  # warms imports and the processor's caches
    return turn


def reader(location: str, layers: tuple[int, ...]) -> Callable[[int], Measured]:
    """Return a turn that reads a number of epochs, as a trial does; it also returns its process id as "process"."""
    torch.set_num_threads(1)
    split = open_cache(location).splits["train"]

    def turn(epochs: int) -> Measured:
        started = time.perf_counter()
        for _ in range(epochs):
            read_epoch(split, layers)
        return {READING: (epochs, time.perf_counter() - started), "process": (os.getpid(), 0)}

    return turn


def caching(location: str, config: Any, out: str, shard_rows: int, device: str) -> Callable[[int], Measured]:
    """Return a turn that runs a teacher over the training examples of a cache (one shard), in shards of `shard_rows`.

    It returns the examples done after each shard, and the seconds until then.
    """
    cache = open_cache(location)
    split, types = cache.splits["train"], cache.manifest.column_types()
    accelerator = make_accelerator(resolve_precision("auto"), device)
    context = teacher_pass(build_classifier(config), accelerator, cache.manifest, available_cores())
    running = context.__enter__()
    running.tokens_per_second(split, 0, len(split))  # warm

    def turn(_: int, context: Any = context) -> Measured:  # keeps the pass open as long as the turn exists
        marks: dict[str, tuple[float, float]] = {}
        started = time.perf_counter()
        for index, (start, stop) in enumerate(shard_ranges(len(split), shard_rows)):
            columns = running.shard(split, start, stop, lambda _: None)
            file = f"train/{index:05d}.arrow"
            write_shard(Path(out) / file, file, "arrow", columns, types)
            marks[str(stop)] = stop, time.perf_counter() - started
        return marks

    return turn


def training(location: str, setup: StudentSetup, layers: int, examples_per_mark: int) -> Callable[[int], Measured]:
    """Return a turn that trains a new student for an epoch.

    It returns the examples done at every mark, and the seconds until then.
    """
    split = open_cache(location).splits["train"]
    source = CachedTargets(split)
    batches = BatchOrder(np.arange(len(split)), split.lengths, setup.batch_size, 0).epoch(0)

    def turn(_: int) -> Measured:
        learner = setup.learner(layers)
        for step, ids in enumerate(batches[:WARM_STEPS]):
            train_step(learner, split, source, ids, step)
        marks: dict[str, tuple[float, float]] = {}
        done, started = 0, time.perf_counter()
        for step, ids in enumerate(batches):
            train_step(learner, split, source, ids, step)
            done += len(ids)
            if done // examples_per_mark > len(marks) or done == len(split):
                marks[str(len(marks))] = done, time.perf_counter() - started
        return marks

    return turn


def depths(location: str, setup: StudentSetup, layers: Sequence[int], batches: int) -> Callable[[int], Measured]:
    """Return a turn that trains students of these depths in turn on the same batches.

    It returns (layers, seconds per step) of each.
    """
    split = open_cache(location).splits["train"]
    source = CachedTargets(split)
    chosen = BatchOrder(np.arange(len(split)), split.lengths, setup.batch_size, 0).representative(batches)
    learners = {depth: setup.learner(depth) for depth in layers}
    steps = itertools.count()

    def turn(times: int) -> Measured:
        seconds = dict.fromkeys(learners, 0.0)
        for _, ids, (depth, learner) in itertools.product(range(times), chosen, learners.items()):
            started = time.perf_counter()
            train_step(learner, split, source, ids, next(steps))
            seconds[depth] += time.perf_counter() - started
        return {str(depth): (depth, taken / (times * len(chosen))) for depth, taken in seconds.items()}

    turn(1)
    return turn
