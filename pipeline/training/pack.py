"""Several students trained in one process as one model: their parameters stacked, forward and backward once for all.

Each student stays an `EncoderLearner` of its own, whose parameters are views of the stack. So its objective, learning
rate, clipping, AdamW moments and checkpoint are those that it has alone, and a pack is left and joined at any step.

In a pack a student computes what it does alone; only sums are taken in another order (1e-5 in float32; a bias of keys,
which softmax does not see, has a gradient of rounding alone and strays further, to no effect). Dropout differs: its
masks are torch's own instead of those of pipeline/dropout.py, drawn for the whole pack at once, and seeded by the seeds
of all its students and the number of the step. Attention is plain products, for which vmap has rules.
"""

import copy
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.data.batching import Batch
from pipeline.data.splits import Split
from pipeline.distillation.losses import Objective, Targets
from pipeline.errors import BadOption
from pipeline.models.encoders import cls_vectors
from pipeline.training.learner import EncoderLearner, Part, outputs, seed_everything


class PackLearner:
    """P students of one shape as one. A pack of one is that student, computing as it does alone.

    Raises `BadOption` for students that are not of one shape, or for several processes.
    """

    def __init__(self, learners: Sequence[EncoderLearner]):
        self.learners = tuple(learners)
        self.pad_id, self.accelerator = learners[0].pad_id, learners[0].accelerator
        self.layers = learners[0].layers  # the teacher layers whose [CLS] vectors a step needs
        self.stack: dict[str, Tensor] = {}  # parameters by name, [P, *shape]
        if len(learners) > 1:
            self.layers = tuple(sorted({layer for learner in learners for layer in learner.layers}))
            self._stack()

    def step(self, parts: Sequence[Part], step: int, total: int) -> list[Tensor]:
        """One optimizer step of every student; the targets of `parts` are of `layers`.

        Returns what `EncoderLearner.step` does, for each of them.
        """
        if not self.stack:
            return [self.learners[0].step(parts, step, total)]
        seed_everything(*(learner.config.seed for learner in self.learners), step)
        self.model.train()
        for parameter in self.stack.values():
            parameter.grad = None
        of_parts = [self._backward(part) for part in parts]
        self._share_gradients()
        return [
            torch.cat([torch.stack(terms).sum(0), learner.update(step, total)])
            for learner, *terms in zip(self.learners, *of_parts, strict=True)
        ]

    def predict(self, split: Split) -> Sequence[np.ndarray]:
        """Logits float32 [n, C] of every example of a split, of each student."""
        if not self.stack:
            return [self.learners[0].predict(split)]
        self.model.eval()
        found = outputs(
            lambda batch: self._forward(batch)[0].transpose(0, 1),
            (len(self.learners), self.model.config.num_labels),
            split,
            np.arange(len(split)),
            self.pad_id,
            self.accelerator,
        )
        return list(found.swapaxes(0, 1))

    def _stack(self) -> None:
        """Move the students' parameters into one tensor a name, and let their own be views of it."""
        if self.accelerator.num_processes > 1:
            raise BadOption("a pack of students trains in one process. Start it without accelerate launch")
        parameters = [dict(learner.bare.named_parameters()) for learner in self.learners]
        shapes = [{name: parameter.shape for name, parameter in own.items()} for own in parameters]
        if any(other != shapes[0] for other in shapes):
            raise BadOption("students of a pack have one shape, and these differ in theirs. Train them apart")
        for name in parameters[0]:
            stacked = torch.stack([own[name].detach() for own in parameters])
            for own, view in zip(parameters, stacked.unbind(), strict=True):
                own[name].data = view
            self.stack[name] = stacked.requires_grad_()
        self.own = {name: [own[name] for own in parameters] for name in self.stack}  # the students' views of it
        self.model = _for_vmap(self.learners[0].bare)
        self.alike = _alike([learner.objective for learner in self.learners], self.layers, self.accelerator.device)

    def _forward(self, batch: Batch, layers: int = 0) -> tuple[Tensor, list[Tensor]]:
        """Logits [P, B, C], and [CLS] [P, B, H] of student layers 1..`layers`; float32."""

        def one(parameters: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
            with cls_vectors(self.model, range(1, layers + 1)) as read:
                logits = functional_call(self.model, parameters, kwargs=batch.inputs).logits
            return logits.float(), [cls.float() for cls in read]

        with self.accelerator.autocast(), sdpa_kernel(SDPBackend.MATH):
            found: tuple[Tensor, list[Tensor]] = vmap(one, randomness="different")(self.stack)
        return found

    def _backward(self, part: Part) -> list[Tensor]:
        logits, read = self._forward(part.batch, max(len(learner.layers) for learner in self.learners))
        terms: dict[int, Tensor] = {}
        for students in self.alike:
            terms |= students.terms(logits, read, part.batch.labels, part.targets)
        in_order = [terms[place] for place in range(len(self.learners))]
        # Nobody's loss depends on another's parameters: the gradient of the sum holds that of each.
        self.accelerator.backward(torch.stack([own[0] for own in in_order]).sum() * part.weight)
        return [own.detach() * part.weight for own in in_order]

    def _share_gradients(self) -> None:
        """Each student's gradients as views of those of the stack."""
        for name, stacked in self.stack.items():
            if stacked.grad is not None:
                for parameter, gradient in zip(self.own[name], stacked.grad.unbind(), strict=True):
                    parameter.grad = gradient


@dataclass(frozen=True, eq=False)
class _Alike:
    """Students whose objectives differ in numbers alone, so that one call computes the terms of them all."""

    objective: Objective
    places: tuple[int, ...]  # in the pack
    index: Tensor  # the same, on the device: int64 [p]
    numbers: Tensor  # float32 [p, 3]: alpha, beta, T
    columns: Tensor  # int64 [K]: where the layers that they match stand among those of the pack

    def terms(self, logits: Tensor, read: list[Tensor], y: Tensor, targets: Targets | None) -> dict[int, Tensor]:
        """Place -> [4 + K] terms of the objective, from what all students of the pack put out."""
        matched = len(self.columns)
        cls = torch.stack(read[:matched], dim=2) if matched else logits.new_zeros(len(logits), 0)
        if targets is not None:
            chosen = targets.cls.index_select(1, self.columns) if matched and targets.cls is not None else None
            targets = Targets(targets.logits, chosen)

        def one(z_s: Tensor, h_s: Tensor, numbers: Any) -> Tensor:
            alpha, beta, temperature = numbers.unbind()
            return replace(self.objective, alpha=alpha, beta=beta, temperature=temperature)(z_s, y, h_s, targets)

        found = vmap(one)(logits.index_select(0, self.index), cls.index_select(0, self.index), self.numbers)
        return dict(zip(self.places, found.unbind(), strict=True))


def _alike(objectives: Sequence[Objective], layers: Sequence[int], device: torch.device) -> list[_Alike]:
    groups: dict[Objective, list[int]] = {}
    for place, objective in enumerate(objectives):
        groups.setdefault(Objective(reduction=objective.reduction, layers=objective.layers), []).append(place)
    found = []
    for form, places in groups.items():
        index = torch.tensor(places, device=device)
        numbers = torch.tensor([[o.alpha, o.beta, o.temperature] for o in map(objectives.__getitem__, places)])
        columns = torch.tensor([layers.index(layer) for layer in form.layers], dtype=torch.long)
        found.append(_Alike(form, tuple(places), index, numbers.to(device), columns.to(device)))
    return found


def _for_vmap(model: Any) -> Any:
    """Return a copy of a prepared model that shares its parameters and computes with operations that vmap can batch."""
    model = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    if getattr(model, "_supports_attention_backend", False):
        model.set_attn_implementation("eager")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            vars(module).pop("forward", None)
        if isinstance(module, nn.Linear):
            module.forward = types.MethodType(_linear, module)  # type: ignore[method-assign]
        if isinstance(module, nn.Embedding):
            module.forward = types.MethodType(_embedding, module)  # type: ignore[method-assign]
    return model


def _linear(module: nn.Linear, hidden: Tensor) -> Tensor:
    """One product of two matrices a student: vmap would repeat the weight for each example where S is 1."""
    product = hidden.flatten(0, -2) @ module.weight.t()
    if module.bias is not None:
        product = product + module.bias.to(product.dtype)  # as autocast has it inside of a linear layer
    return product.unflatten(0, hidden.shape[:-1])


def _embedding(module: nn.Embedding, ids: Tensor) -> Tensor:
    """Rows of the table, [*ids.shape, H]: vmap's own rule turns the tables of all students over, and back again."""
    rows = module.weight[ids]
    if module.padding_idx is not None:  # whose row is not trained
        rows = torch.where((ids == module.padding_idx).unsqueeze(-1), rows.detach(), rows)
    return rows
