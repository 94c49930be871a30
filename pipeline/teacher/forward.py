"""The teacher over the examples of a shard: fixed batches, each on one torch thread, as many at a time as there are
cores.

A batch is computed by single-threaded kernels wherever it runs, so the bytes of a shard depend neither on the number
of cores nor on that of processes; and on CPUs, whole batches side by side are faster than one batch on all cores
(docs/log.md).
"""

import copy
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from pipeline.cache.format.columns import cls_column
from pipeline.cache.format.manifest import Manifest
from pipeline.data.batching import by_length, collate
from pipeline.data.ragged import Column
from pipeline.data.splits import Split, slice_examples
from pipeline.distillation.targets import teacher_outputs
from pipeline.errors import BadModel
from pipeline.models.accelerator import prepare_for_cls

TEACHER_BATCH = 64
BATCHING = f"by length, {TEACHER_BATCH}, last layer for [CLS]"  # part of the identity: a shard's bytes depend on it


class TeacherPass:
    """A teacher ready to run, on `cores` cores where it runs on the CPU. Made by `teacher_pass`."""

    def __init__(self, model: Any, accelerator: Any, manifest: Manifest, cores: int):
        self.accelerator, self.manifest = accelerator, manifest
        self.lanes = cores if accelerator.device.type == "cpu" else 1
        shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
        self._models: queue.SimpleQueue = queue.SimpleQueue()  # hooks are a model's own, so every lane has one
        for lane in range(self.lanes):
            self._models.put(copy.deepcopy(model, dict(shared)) if lane else model)
        self._pool = ThreadPoolExecutor(self.lanes, "teacher", lambda: torch.set_num_threads(1))

    def shard(self, split: Split, start: int, stop: int, advance: Callable[[int], object]) -> dict[str, Column]:
        """The columns of the shard of examples start..stop-1; `advance` is called with each batch's size.

        Raises `BadModel` for outputs that are not finite, after the cast to the stored type too.
        """
        columns, manifest = slice_examples(split, start, stop), self.manifest
        rows, layers = stop - start, manifest.layers
        logits = np.empty((rows, manifest.model.classes), np.float32)
        cls = {layer: np.empty((rows, manifest.model.hidden), manifest.dtype) for layer in layers}
        batches = by_length(np.arange(rows), split.lengths[start:stop], TEACHER_BATCH)

        def one(places: np.ndarray) -> int:
            logits[places], vectors = self._outputs(split, start + places, layers)
            with np.errstate(over="ignore"):
                for number, layer in enumerate(layers):
                    cls[layer][places] = vectors[:, number]
            return len(places)

        for computed in self._pool.map(one, batches):
            advance(computed)
        outputs = {"logits": logits, **{f"[CLS] of layer {layer}": vectors for layer, vectors in cls.items()}}
        for what, values in outputs.items():
            _check_finite(what, values, split.name, start)
        return {**columns, "logits": logits, **{cls_column(layer): vectors for layer, vectors in cls.items()}}

    def outputs(self, split: Split, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32 [n, C] and [CLS] float32 [n, K, H] of these examples, in batches of like length."""
        shape = (len(ids), len(self.manifest.layers), self.manifest.model.hidden)
        logits, cls = np.empty((len(ids), self.manifest.model.classes), np.float32), np.empty(shape, np.float32)

        def one(places: np.ndarray) -> None:
            logits[places], cls[places] = self._outputs(split, ids[places], self.manifest.layers)

        for _ in self._pool.map(one, by_length(np.arange(len(ids)), split.lengths[ids], TEACHER_BATCH)):
            pass
        return logits, cls

    def _outputs(self, split: Split, ids: np.ndarray, layers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        model = self._models.get()
        try:
            batch = collate(split, ids, self.manifest.model.pad_id).to(self.accelerator.device)
            targets = teacher_outputs(model, batch, layers, self.accelerator)
            cls = targets.cls.cpu().numpy() if targets.cls is not None else np.empty((len(ids), 0, 0), np.float32)
            return targets.logits.cpu().numpy(), cls
        finally:
            self._models.put(model)

    def tokens_a_second(self, split: Split, start: int, stop: int) -> float:
        """Measured on the middle batches of a shard, one a lane, after a first round that is not timed."""
        batches = by_length(np.arange(start, stop), split.lengths[start:stop], TEACHER_BATCH)
        middle = (batches[len(batches) // 2 :] * self.lanes)[: self.lanes]
        seconds = 0.0
        for _ in range(2):
            started = time.monotonic()
            list(self._pool.map(lambda ids: self._outputs(split, ids, self.manifest.layers), middle))
            seconds = time.monotonic() - started
        return float(sum(split.lengths[ids].sum() for ids in middle)) / seconds

    def close(self) -> None:
        self._pool.shutdown()


@contextmanager
def teacher_pass(model: Any, accelerator: Any, manifest: Manifest, cores: int) -> Iterator[TeacherPass]:
    """A `TeacherPass` of this model in evaluation mode; torch's number of threads is restored at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    running = TeacherPass(prepare_for_cls(model.eval(), accelerator.device), accelerator, manifest, cores)
    try:
        yield running
    finally:
        running.close()
        torch.set_num_threads(threads)


def _check_finite(what: str, values: np.ndarray, split: str, start: int) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        advice = "Try --dtype float32, or another teacher" if values.dtype == np.float16 else "Try another teacher"
        raise BadModel(
            f"the teacher's {what} are not finite for example {start + int(bad.argmax())} of {split} "
            f"(stored as {values.dtype}). {advice}"
        )
