"""The forward pass of a teacher over a shard: fixed batches, each on one torch thread, one per core at a time.

A batch is computed by single-threaded kernels wherever it runs, so the bytes of a shard depend neither on the number
of cores nor on that of processes; and on CPUs, whole batches side by side are faster than one batch on all cores
(docs/log.md).
"""

import copy
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from pipeline.cache.format.columns import cls_layer
from pipeline.cache.format.manifest import Manifest
from pipeline.data.batching import by_length, collate
from pipeline.data.ragged import Column
from pipeline.data.splits import Split, slice_examples
from pipeline.distillation.targets import teacher_outputs
from pipeline.errors import BadModel
from pipeline.models.accelerator import prepare_for_cls

TEACHER_BATCH = 64  # sequences
BATCHING = f"by length, {TEACHER_BATCH}, last layer for [CLS]"  # part of the identity: a shard's bytes depend on it


class TeacherPass:
    """A teacher ready to run, on `cores` cores where it runs on the CPU. Made by `teacher_pass`."""

    def __init__(self, model: Any, accelerator: Any, manifest: Manifest, cores: int):
        self.accelerator, self.manifest = accelerator, manifest
        self.types = {name: kind for name, kind in manifest.column_types().items() if kind.target}
        self.lanes = cores if accelerator.device.type == "cpu" else 1
        shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
        self._models: queue.SimpleQueue = queue.SimpleQueue()  # hooks are a model's own, so every lane has one
        for lane in range(self.lanes):
            self._models.put(copy.deepcopy(model, dict(shared)) if lane else model)
        self._pool = ThreadPoolExecutor(self.lanes, "teacher", lambda: torch.set_num_threads(1))

    def shard(self, split: Split, start: int, stop: int, advance: Callable[[int], object]) -> dict[str, Column]:
        """Return the columns of the shard of examples start..stop-1; `advance` is called with each batch's size.

        Raises `BadModel` for outputs that are not finite, after the cast to the stored type too.
        """
        rows = stop - start
        targets = {name: np.empty((rows, kind.width or 1), kind.dtype) for name, kind in self.types.items()}

        def compute(places: np.ndarray) -> int:
            with np.errstate(over="ignore"):
                for name, values in self._outputs(split, start + places).items():
                    targets[name][places] = values
            return len(places)

        for examples in self._pool.map(compute, _batches(split, np.arange(start, stop))):
            advance(examples)
        for name, values in targets.items():
            _check_finite(name, values, split.name, start)
        return {**slice_examples(split, start, stop), **targets}

    def outputs(self, split: Split, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Return the target columns of these examples, [n, width] in float32, in batches of similar length."""
        targets = {name: np.empty((len(ids), kind.width or 1), np.float32) for name, kind in self.types.items()}

        def compute(places: np.ndarray) -> None:
            for name, values in self._outputs(split, ids[places]).items():
                targets[name][places] = values

        for _ in self._pool.map(compute, _batches(split, ids)):
            pass
        return targets

    def _outputs(self, split: Split, ids: np.ndarray) -> dict[str, np.ndarray]:
        model = self._models.get()
        try:
            batch = collate(split, ids, self.manifest.model.pad_id).to(self.accelerator.device)
            targets = teacher_outputs(model, batch, list(self.types), self.accelerator)
            return {name: values.cpu().numpy() for name, values in targets.items()}
        finally:
            self._models.put(model)

    def tokens_per_second(self, split: Split, start: int, stop: int) -> float:
        """Measure the speed on the middle batches of a shard, one per lane, after a first round that is not timed."""
        batches = [start + places for places in _batches(split, np.arange(start, stop))]
        middle = (batches[len(batches) // 2 :] * self.lanes)[: self.lanes]
        seconds = 0.0
        for _ in range(2):
            started = time.monotonic()
            list(self._pool.map(lambda ids: self._outputs(split, ids), middle))
            seconds = time.monotonic() - started
        return float(sum(split.tokens[ids].sum() for ids in middle)) / seconds

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


@contextmanager
def teacher_pass(model: Any, accelerator: Any, manifest: Manifest, cores: int) -> Iterator[TeacherPass]:
    """Open a `TeacherPass` of this model in evaluation mode; torch's number of threads is restored at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    running = TeacherPass(prepare_for_cls(model.eval(), accelerator.device), accelerator, manifest, cores)
    try:
        yield running
    finally:
        running.close()
        torch.set_num_threads(threads)


def _batches(split: Split, ids: np.ndarray) -> list[np.ndarray]:
    """Return batches of similar length, as places in `ids`."""
    return by_length(np.arange(len(ids)), split.lengths[ids], split.examples_in(TEACHER_BATCH))


def _check_finite(column: str, values: np.ndarray, split: str, start: int) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        layer = cls_layer(column)
        output = column if layer is None else f"[CLS] of layer {layer}"
        advice = "Try --dtype float32, or another teacher" if values.dtype == np.float16 else "Try another teacher"
        raise BadModel(
            f"the teacher's {output} are not finite for example {start + int(bad.argmax())} of {split} "
            f"(stored as {values.dtype}). {advice}"
        )
