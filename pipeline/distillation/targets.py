"""Sources of distillation targets.

The loop requests targets per batch and does not know whether they are cached or computed live.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pipeline.cache.format.columns import LOGITS, cls_column, cls_layer
from pipeline.data.batching import Batch
from pipeline.data.splits import Split
from pipeline.distillation.losses import Targets
from pipeline.models.accelerator import prepare_for_cls
from pipeline.models.encoders import cls_vectors
from pipeline.models.probe import running


class TargetSource(Protocol):
    """A source of target columns."""

    def for_batch(self, batch: Batch, columns: Sequence[str]) -> Targets:
        """Return these columns for the examples of a batch, each [B, …], on the batch's device."""
        ...

    def prefetch(self, ids: np.ndarray, columns: Sequence[str]) -> None:
        """Announce that these examples' targets will be requested soon."""
        ...


class CachedTargets:
    """Targets from the split of a cache, joined by example id.

    The row hash of every row is checked against the split that the targets come from; once, where the batch comes from
    there too.
    """

    def __init__(self, split: Split):
        self.split = split

    def for_batch(self, batch: Batch, columns: Sequence[str]) -> Targets:
        """Return columns of the cache. Raises `BadCache` for a row that belongs to other tokens than the batch has."""
        rows = batch.rows if batch.rows.split is self.split else self.split.rows(batch.rows.ids)
        rows.check(batch.row_hashes)  # returns at once where `collate` checked these rows with these hashes
        return {name: torch.from_numpy(rows.gather(name)).to(batch.labels.device) for name in columns}

    def prefetch(self, ids: np.ndarray, columns: Sequence[str]) -> None:
        """Start reading the rows from where they are."""
        self.split.prefetch(columns, ids)


class LiveTargets:
    """Targets from a loaded teacher, run on each batch: what caching replaces, kept for comparison."""

    def __init__(self, teacher: nn.Module, accelerator: Any):
        self.teacher = prepare_for_cls(teacher.eval(), accelerator.device)
        self.accelerator = accelerator

    def for_batch(self, batch: Batch, columns: Sequence[str]) -> Targets:
        """Run the teacher on the batch."""
        return teacher_outputs(self.teacher, batch.to(self.accelerator.device), columns, self.accelerator)

    def prefetch(self, ids: np.ndarray, columns: Sequence[str]) -> None:
        """Do nothing: a teacher needs the batch."""


class NoTargets:
    """The targets of a training on labels alone."""

    def for_batch(self, batch: Batch, columns: Sequence[str]) -> Targets:
        """Return an empty mapping."""
        return {}

    def prefetch(self, ids: np.ndarray, columns: Sequence[str]) -> None:
        """Do nothing."""


class TeacherForwardCounter:
    """The number of forward passes of a teacher in this process: in a sweep it stays 0."""

    count = 0


teacher_forwards = TeacherForwardCounter()


def teacher_outputs(teacher: Any, batch: Batch, columns: Sequence[str], accelerator: Any) -> Targets:
    """Run a teacher on a batch without gradients and return these columns: logits [B, C], [CLS] [B, S·H]; float32."""
    teacher_forwards.count += 1
    layers = [layer for column in columns if (layer := cls_layer(column)) is not None]
    read = cls_vectors(teacher, layers)
    with running(teacher), torch.inference_mode(), read as vectors, accelerator.autocast():
        logits = teacher(**batch.inputs).logits
    rows = [vector.float().reshape(len(batch), -1) for vector in vectors]
    cls = {cls_column(layer): vector for layer, vector in zip(layers, rows, strict=True)}
    return {name: logits.float() if name == LOGITS else cls[name] for name in columns}
