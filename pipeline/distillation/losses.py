"""The loss terms of patient knowledge distillation (Sun et al. 2019, equations 2 to 8).

Shapes: logits z_s, z_t [B, C]; labels y [B]; [CLS] vectors h_s, h_t [B·S, K, H] of the matched layers, where an example
is S sequences (1, or the choices of a question). Everything is computed in float32. `reduction` is "reference" (the
authors' code), "batchmean" (KD as most programs have it) or "paper" (the equations); docs/method.md has all three.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.cache.format.columns import LOGITS, cls_column
from pipeline.data.task_kinds import TaskKind
from pipeline.distillation.labelled_examples import LabelledExamples

Numbers = Mapping[str, Any]  # option of train-student -> number, or a tensor of one number where students are packed
Targets = Mapping[str, Tensor]  # column of the cache -> [B, …]


def patience_by_layer(h_s: Tensor, h_t: Tensor, reduction: str) -> Tensor:
    """Return the squared distance of the normalised [CLS] vectors at each matched layer: [K].

    reference: mean over B·S and H; paper: sum over H, mean over B·S. Raises ValueError for K = 0.
    """
    if h_s.shape != h_t.shape:
        raise ValueError(f"student [CLS] {tuple(h_s.shape)} and teacher [CLS] {tuple(h_t.shape)} differ in shape")
    if h_s.shape[-2] == 0:
        raise ValueError("there is no matched layer: a student of one layer does not have a patience loss")
    distance = functional.normalize(h_s.float(), dim=-1) - functional.normalize(h_t.float(), dim=-1)
    squared = distance.square()
    per_layer = squared.sum(-1) if reduction == "paper" else squared.mean(-1)
    return per_layer.mean(0)


def patience_loss(by_layer: Tensor, reduction: str) -> Tensor:
    """Return PT from its parts: their mean (reference) or sum (paper)."""
    return by_layer.sum() if reduction == "paper" else by_layer.mean()


@dataclass(frozen=True)
class LossInputs:
    """Everything that a loss term may read for one batch."""

    kind: TaskKind
    logits: Tensor  # of the student, [B, C]
    labels: Tensor  # [B]
    labelled: LabelledExamples
    cls: Tensor | None  # of student layers 1..K, [B·S, K, H]; None where no term matches layers
    targets: Targets
    layers: tuple[int, ...]  # teacher layers matched by student layers 1..K
    reduction: str

    def teacher_cls(self) -> Tensor:
        """Return the teacher's [CLS] vectors of the matched layers, [B·S, K, H]; columns have [B, S·H]."""
        assert self.cls is not None
        vectors = [self.targets[cls_column(layer)].reshape(self.cls.shape[0], -1) for layer in self.layers]
        return torch.stack(vectors, dim=1)


class LossTerm(Protocol):
    """A term of the loss. To add one, see docs/extending.md."""

    key: str  # of its value in log.jsonl
    numbers: tuple[str, ...]  # options of train-student that are numbers of this term, its weight first
    by_layer: bool  # whether its value is made of one value for each matched layer, which are logged too
    needs_labels: bool  # whether it has nothing to say about an example without a label

    def options(self, kind: TaskKind) -> tuple[str, ...]:
        """Return the options of train-student that mean something to it."""
        ...

    def columns(self, layers: Sequence[int]) -> tuple[str, ...]:
        """Return the target columns that it reads."""
        ...

    def weight(self, numbers: Numbers) -> Any:
        """Return its weight in the loss."""
        ...

    def value(self, inputs: LossInputs, numbers: Numbers) -> tuple[Tensor, Tensor | None]:
        """Return its value (a scalar), and where it is made of them the values of each layer, [K]."""
        ...


class LabelTerm:
    """The loss against the labels of the examples that have one; its weight is what alpha leaves."""

    key, by_layer, needs_labels = "ce", False, True
    numbers: tuple[str, ...] = ()

    def options(self, kind: TaskKind) -> tuple[str, ...]:
        """Return none: alpha belongs to the logits."""
        return ()

    def columns(self, layers: Sequence[int]) -> tuple[str, ...]:
        """Return none: labels are not made by the teacher."""
        return ()

    def weight(self, numbers: Numbers) -> Any:
        """Return 1 − alpha."""
        return 1 - numbers.get("alpha", 0.0)

    def value(self, inputs: LossInputs, numbers: Numbers) -> tuple[Tensor, Tensor | None]:
        """Return CE, or what the kind of task has in its place; 0 without labels."""
        labelled = inputs.labelled
        if not labelled.scale:
            return inputs.logits.new_zeros((), dtype=torch.float32), None
        loss = inputs.kind.label_loss(labelled.select(inputs.logits), labelled.select(inputs.labels))
        return loss * labelled.scale, None


class PseudoLabelTerm:
    """The loss against hard labels: those of the rows, and the teacher's predictions where a row does not have one."""

    key, by_layer, needs_labels = "pseudo", False, False
    numbers: tuple[str, ...] = ()

    def options(self, kind: TaskKind) -> tuple[str, ...]:
        """Return none."""
        return ()

    def columns(self, layers: Sequence[int]) -> tuple[str, ...]:
        """Return the logits, from which predictions are made."""
        return (LOGITS,)

    def weight(self, numbers: Numbers) -> Any:
        """Return 1."""
        return 1.0

    def value(self, inputs: LossInputs, numbers: Numbers) -> tuple[Tensor, Tensor | None]:
        """Return the label loss."""
        y = inputs.labels
        predicted = torch.from_numpy(inputs.kind.predictions(inputs.targets[LOGITS].cpu().numpy())).to(y)
        has_label = inputs.kind.has_label(y).reshape(-1, *[1] * (y.ndim - 1))
        return inputs.kind.label_loss(inputs.logits, torch.where(has_label, y, predicted)), None


class LogitTerm:
    """KD: the loss against the teacher's logits."""

    key, by_layer, needs_labels = "kd", False, False
    numbers: tuple[str, ...] = ("alpha", "temperature")

    def options(self, kind: TaskKind) -> tuple[str, ...]:
        """Return alpha, and the options that the kind of task reads."""
        return ("alpha", *kind.logit_loss_options)

    def columns(self, layers: Sequence[int]) -> tuple[str, ...]:
        """Return the logits."""
        return (LOGITS,)

    def weight(self, numbers: Numbers) -> Any:
        """Return alpha."""
        return numbers["alpha"]

    def value(self, inputs: LossInputs, numbers: Numbers) -> tuple[Tensor, Tensor | None]:
        """Return KD."""
        z_t, temperature = inputs.targets[LOGITS], numbers["temperature"]
        return inputs.kind.logit_loss(inputs.logits, z_t, temperature, inputs.reduction), None


class PatienceTerm:
    """PT: the distance of the normalised [CLS] vectors at the matched layers."""

    key, by_layer, needs_labels = "pt", True, False
    numbers: tuple[str, ...] = ("beta",)

    def options(self, kind: TaskKind) -> tuple[str, ...]:
        """Return beta and the reduction."""
        return ("beta", "reduction")

    def columns(self, layers: Sequence[int]) -> tuple[str, ...]:
        """Return the [CLS] vectors of the matched layers."""
        return tuple(cls_column(layer) for layer in layers)

    def weight(self, numbers: Numbers) -> Any:
        """Return beta."""
        return numbers["beta"]

    def value(self, inputs: LossInputs, numbers: Numbers) -> tuple[Tensor, Tensor | None]:
        """Return PT and its value at each layer. Raises ValueError where no layer is matched."""
        assert inputs.cls is not None
        by_layer = patience_by_layer(inputs.cls, inputs.teacher_cls(), inputs.reduction)
        return patience_loss(by_layer, inputs.reduction), by_layer


# Name in a method's `terms` -> term. The loss is summed in the order of the method.
LOSS_TERMS: Mapping[str, LossTerm] = {
    "label": LabelTerm(),
    "logit": LogitTerm(),
    "patience": PatienceTerm(),
    "pseudo-label": PseudoLabelTerm(),
}
