"""The loss that a model is trained for: the weighted sum of its terms, and the values of each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.config.methods import Method
from pipeline.data.task_kinds import TaskKind
from pipeline.distillation.labelled_examples import ALL_LABELLED, LabelledExamples
from pipeline.distillation.losses import LOSS_TERMS, LossInputs, Numbers, Targets

LOSS, BY_LAYER = "loss", "_by_layer"


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
