"""The loss terms of patient knowledge distillation (Sun et al. 2019, equations 2 to 8), and their weighted sum.

Shapes: logits z_s, z_t [B, C]; labels y [B]; [CLS] vectors h_s, h_t [B·S, K, H] of the matched layers, where an example
is S sequences (1, or the choices of a question). Everything is computed in float32. `reduction` is "reference" (the
authors' code), "batchmean" (KD as most programs have it) or "paper" (the equations); docs/method.md has all three.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.cache.format.columns import LOGITS, cls_column
from pipeline.config.methods import Method
from pipeline.data.task_kinds import TaskKind

LOSS, BY_LAYER = "loss", "_by_layer"
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


@dataclass(frozen=True)
class Objective:
    """The loss that one model is trained for: the weighted sum of its terms over `layers` matched layers."""

    kind: TaskKind
    terms: tuple[str, ...] = ("label",)
    layers: tuple[int, ...] = ()  # teacher layers matched by student layers 1..K
    reduction: str = "reference"
    numbers: tuple[tuple[str, float], ...] = ()  # option -> number, of all its terms

    @property
    def columns(self) -> tuple[str, ...]:
        """The target columns that it reads."""
        return tuple(dict.fromkeys(c for name in self.terms for c in LOSS_TERMS[name].columns(self.layers)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that a call returns: the loss, each term, and the layers of those made of layers."""
        names = [LOSS]
        for term in map(LOSS_TERMS.__getitem__, self.terms):
            names.append(term.key)
            if term.by_layer:
                names += [f"{term.key}{BY_LAYER}.{layer}" for layer in self.layers]
        return tuple(names)

    @property
    def needs_labels(self) -> bool:
        """Whether a term that needs labels has a weight other than 0."""
        terms, numbers = map(LOSS_TERMS.__getitem__, self.terms), dict(self.numbers)
        return any(term.needs_labels and term.weight(numbers) for term in terms)

    @property
    def form(self) -> "Objective":
        """The objective without its numbers: objectives of one form are computed in one call."""
        return replace(self, numbers=())

    def __call__(
        self,
        z_s: Tensor,
        y: Tensor,
        h_s: Tensor | None,
        targets: Targets,
        numbers: Numbers | None = None,
        labelled: LabelledExamples = ALL_LABELLED,
    ) -> Tensor:
        """Return the values called `names`, float32, differentiable in the first, the loss.

        z_s [B, C], y [B], h_s [B·S, K, H]; `numbers` replace those of the objective.
        """
        values = dict(self.numbers) if numbers is None else numbers
        inputs = LossInputs(self.kind, z_s, y, labelled, h_s, targets, self.layers, self.reduction)
        loss: Any = 0.0
        parts: list[Tensor] = []
        for term in map(LOSS_TERMS.__getitem__, self.terms):
            value, by_layer = term.value(inputs, values)
            loss = loss + term.weight(values) * value
            parts.append(value[None])
            if by_layer is not None:
                parts.append(by_layer)
        return torch.cat([loss[None], *parts])


def objective_of(
    method: Method, kind: TaskKind, layers: tuple[int, ...], reduction: str, options: Mapping[str, Any]
) -> Objective:
    """Return the objective of a method; `options` has the numbers of its terms, and may have others."""
    names = dict.fromkeys(name for term in method.terms for name in LOSS_TERMS[term].numbers)
    numbers = tuple((name, float(options[name])) for name in names)
    return Objective(kind, method.terms, layers, reduction, numbers)


def as_record(values: Mapping[str, float]) -> dict[str, Any]:
    """Return named values as they are logged: those of layers as one object, layer -> value, after their term."""
    record: dict[str, Any] = {}
    for name, value in values.items():
        term, _, layer = name.partition(".")
        if layer:
            record.setdefault(term, {})[layer] = value
        else:
            record[name] = value
    return record
