"""Where the teacher's targets come from. The training loop asks for those of a batch and never how they are had."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pipeline.cache.format.columns import cls_column
from pipeline.data.batching import Batch
from pipeline.data.splits import Split
from pipeline.distillation.losses import Targets
from pipeline.models.accelerator import prepare_for_cls
from pipeline.models.encoders import cls_vectors


class TargetSource(Protocol):
    """Targets of a batch: logits float32 [B, C] and the [CLS] vectors [B, K, H] of the teacher layers asked for."""

    def for_batch(self, batch: Batch, layers: Sequence[int]) -> Targets: ...

    def prefetch(self, ids: np.ndarray, layers: Sequence[int]) -> None:
        """These examples' targets will be asked for soon."""
        ...


class CachedTargets:
    """From the split of a cache, joined by example id; the row hash of every row used is checked against the split
    that the targets come from, once where the batch comes from there too.
    """

    def __init__(self, split: Split):
        self.split = split

    def for_batch(self, batch: Batch, layers: Sequence[int]) -> Targets:
        """Raises `BadCache` for a row that belongs to other tokens than the batch holds."""
        rows = batch.rows if batch.rows.split is self.split else self.split.rows(batch.rows.ids)
        rows.check(batch.row_hashes)  # no second look where `collate` checked these rows with these hashes
        device = batch.labels.device
        logits = torch.from_numpy(rows.gather("logits")).to(device)
        if not layers:
            return Targets(logits)
        cls = torch.from_numpy(rows.stacked([cls_column(layer) for layer in layers]))
        return Targets(logits, cls.to(device).transpose(0, 1))

    def prefetch(self, ids: np.ndarray, layers: Sequence[int]) -> None:
        self.split.prefetch([cls_column(layer) for layer in layers], ids)


class LiveTargets:
    """From a loaded teacher, run on each batch: what caching replaces, kept to compare with."""

    def __init__(self, teacher: nn.Module, accelerator: Any):
        self.teacher = prepare_for_cls(teacher.eval(), accelerator.device)
        self.accelerator = accelerator

    def for_batch(self, batch: Batch, layers: Sequence[int]) -> Targets:
        return teacher_outputs(self.teacher, batch.to(self.accelerator.device), layers, self.accelerator)

    def prefetch(self, ids: np.ndarray, layers: Sequence[int]) -> None:
        """Nothing can be had before its batch is there."""


class Passes:
    """How often a teacher ran in this process, over batches: what a sweep promises never happens."""

    teacher = 0


passes = Passes()


def teacher_outputs(teacher: Any, batch: Batch, layers: Sequence[int], accelerator: Any) -> Targets:
    """One forward pass without gradients: logits float32 [B, C], [CLS] float32 [B, K, H]."""
    passes.teacher += 1
    with torch.inference_mode(), cls_vectors(teacher, layers) as read, accelerator.autocast():
        logits = teacher(**batch.inputs).logits
    return Targets(logits.float(), torch.stack(read, dim=1).float() if layers else None)
