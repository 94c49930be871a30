"""The examples of a batch that have a label: the loss on labels is the mean over those of an optimizer step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LabelledExamples:
    """The examples of a batch that have a label: their `places`, int64 [b], None where all of them have one.

    `scale` is the batch's share of the labels of an optimizer step over its share of the examples: times that, the
    means over the labels of each batch add up to the mean over those of the step. 1 where every example has a label.
    """

    places: Tensor | None = None
    scale: float = 1.0

    @classmethod
    def of_batch(cls, has_label: np.ndarray, labels: int, weight: float, device: torch.device) -> "LabelledExamples":
        """Return those of a batch, by whether each has a label: bool [B].

        `labels` is the number of labels in the optimizer step, `weight` the batch's share of its examples.
        """
        count = int(has_label.sum())
        if not count:
            return cls(scale=0.0)
        scale = count / labels / weight if weight else 1.0
        if count == len(has_label):
            return cls(scale=scale)
        return cls(torch.from_numpy(np.flatnonzero(has_label)).to(device, non_blocking=True), scale)

    def select(self, values: Tensor) -> Tensor:
        """Return the values [b, …] of these examples, of values [B, …]."""
        return values if self.places is None else values.index_select(0, self.places)


ALL_LABELLED = LabelledExamples()
