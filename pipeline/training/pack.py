"""Several students trained in one process as one model: their parameters stacked, forward and backward once for all.

Each student stays an `EncoderLearner` of its own, whose parameters are views of the stack. So its objective, learning
rate, clipping, AdamW moments and checkpoint are those that it has alone, and a student can leave or join a pack at any
step.

In a pack a student computes what it does alone; only sums are taken in another order (1e-5 in float32; a bias of keys,
which softmax does not see, has a gradient of rounding alone and strays further, to no effect). Dropout differs: its
masks are torch's own instead of those of models/fast/cpu_dropout.py, drawn for the whole pack at once, and seeded by
the seeds of all its students and the number of the step. Attention is plain products, for which vmap has rules.
"""

import copy
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.config.options import option_name
from pipeline.data.batching import Batch
from pipeline.data.splits import Split
from pipeline.distillation.objective import Objective
from pipeline.errors import BadOption
from pipeline.models.encoders import cls_vectors
from pipeline.models.probe import evaluation, probe_batch
from pipeline.system.digests import config_digest
from pipeline.system.system_errors import refusing
from pipeline.training.learner import MAPS, EncoderLearner, Part, outputs, seed_everything

PROBE_TOLERANCE = 1e-4  # of the logits of a pack, in float32
_proved: set[str] = set()  # digests of the configurations that can be packed
STEPS, EXAMPLES = "steps", "examples"  # of a whole training, and in an epoch: in common too, but not options


def check_alike(students: Sequence[Mapping[str, Any]]) -> None:
    """Raise `BadOption` unless students have the same values: option -> value, of those that a pack has in common."""
    for name in students[0]:
        values = {student[name] for student in students}
        if len(values) > 1:
            listed = " and ".join(map(str, sorted(values, key=str)))
            raise BadOption(
                "students of a pack have data, shape and schedule in common, and these have "
                f"{name if name in (STEPS, EXAMPLES) else option_name(name)} {listed}. Train them apart"
            )


class PackLearner:
    """P students of one shape as one model. A pack of one is that student, computing as it does alone.

    Raises `BadOption` for students that are not of one shape, or for several processes.
    """

    def __init__(self, learners: Sequence[EncoderLearner]):
        self.learners = tuple(learners)
        self.pad_id, self.accelerator = learners[0].pad_id, learners[0].accelerator
        self.columns = tuple(dict.fromkeys(column for learner in learners for column in learner.columns))
        self.stack: dict[str, Tensor] = {}  # parameters by name, [P, *shape]
        if len(learners) > 1:
            self._stack()

    def step(self, parts: Sequence[Part], step: int, total: int) -> list[Tensor]:
        """Take one optimizer step with every student; the targets of `parts` are of `columns`.

        Returns the result of `EncoderLearner.step` for each of them.
        """
        if not self.stack:
            return [self.learners[0].step(parts, step, total)]
        seed_everything(*(learner.config.seed for learner in self.learners), step)
        self.model.train()
        for parameter in self.stack.values():
            parameter.grad = None
        by_part = [self._backward(part) for part in parts]
        self._share_gradients()
        return [
            torch.cat([torch.stack(terms).sum(0), learner.update(step, total)])
            for learner, *terms in zip(self.learners, *by_part, strict=True)
        ]

    def predict(self, split: Split) -> Sequence[np.ndarray]:
        """Return logits float32 [n, C] of every example of a split, of each student."""
        if not self.stack:
            return [self.learners[0].predict(split)]
        self.model.eval()
        logits = outputs(
            lambda batch: self._forward(batch)[0].transpose(0, 1),
            (len(self.learners), self.model.config.num_labels),
            split,
            np.arange(len(split)),
            self.pad_id,
            self.accelerator,
        )
        return list(logits.swapaxes(0, 1))

    def _stack(self) -> None:
        """Move the students' parameters into one tensor per name, and let theirs be views of it."""
        if self.accelerator.num_processes > 1:
            raise BadOption("a pack of students trains in one process. Start it without accelerate launch")
        parameters = [learner.named for learner in self.learners]
        shapes = [{name: tensor.shape for name, tensor in student.items()} for student in parameters]
        if any(shape != shapes[0] for shape in shapes):
            raise BadOption("students of a pack have one shape, and these differ in theirs. Train them apart")
        for name in parameters[0]:
            stacked = torch.stack([student[name].detach() for student in parameters])
            for student, view in zip(parameters, stacked.unbind(), strict=True):
                student[name].data = view
            self.stack[name] = stacked.requires_grad_()
        self.views = {name: [student[name] for student in parameters] for name in self.stack}
        self.model = _for_vmap(self.learners[0].bare)
        self.groups = _groups([learner.objective for learner in self.learners], self.accelerator.device)
        self._check()

    def _check(self) -> None:
        """Raise `BadOption` unless the pack computes a probe batch as a student does; once per configuration."""
        bare = self.learners[0].bare
        if (digest := config_digest(bare.config)) in _proved:
            return
        inputs = probe_batch(bare)
        refusal = f"students of type {bare.config.model_type} cannot be trained as a pack. Train them apart: --pack 1"
        with refusing(lambda error: BadOption(refusal)):  # as where vmap has no rules for an architecture
            with evaluation(self.model), torch.inference_mode():
                logits, _ = self._outputs(inputs)
                self.model.train()
                self._outputs(inputs)
            with evaluation(bare), torch.inference_mode():
                alone = type(bare).forward(bare, **inputs).logits  # in float32, as the pack's
            torch.testing.assert_close(logits[0], alone, rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE)
        _proved.add(digest)

    def _forward(self, batch: Batch, layers: int = 0) -> tuple[Tensor, Tensor]:
        """Return `_outputs` in the precision of the run."""
        with self.accelerator.autocast():
            return self._outputs(batch.inputs, layers)

    def _outputs(self, inputs: dict[str, Tensor], layers: int = 0) -> tuple[Tensor, Tensor]:
        """Return logits [P, B, C], and [CLS] [P, B·S, K, H] of student layers 1..K = `layers`; float32."""
        weights = {name: tensor for name, tensor in self.stack.items() if not name.startswith(MAPS)}
        maps = {name.removeprefix(MAPS): self.stack[name] for name in self.stack.keys() - weights.keys()}

        def forward(parameters: dict[str, Tensor], maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            with cls_vectors(self.model, range(1, layers + 1)) as vectors:
                logits = functional_call(self.model, parameters, kwargs=inputs).logits
            cls = torch.stack([cls.float() for cls in vectors], dim=1) if layers else logits.new_zeros(0, 0)
            if maps and layers:
                assert self.learners[0].maps is not None
                cls = functional_call(self.learners[0].maps, maps, cls)
            return logits.float(), cls

        with sdpa_kernel(SDPBackend.MATH):
            result: tuple[Tensor, Tensor] = vmap(forward, randomness="different")(weights, maps)
        return result

    def _backward(self, part: Part) -> list[Tensor]:
        matched = max(len(learner.objective.layers) for learner in self.learners)
        logits, cls = self._forward(part.batch, matched)
        values: dict[int, Tensor] = {}
        for group in self.groups:
            values |= group.values(logits, cls, part)
        in_order = [values[place] for place in range(len(self.learners))]
        # No loss depends on another student's parameters: the gradient of the sum contains that of each.
        self.accelerator.backward(torch.stack([student[0] for student in in_order]).sum() * part.weight)
        return [student.detach() * part.weight for student in in_order]

    def _share_gradients(self) -> None:
        """Set each student's gradients to views of those of the stack."""
        for name, stacked in self.stack.items():
            if stacked.grad is not None:
                for parameter, gradient in zip(self.views[name], stacked.grad.unbind(), strict=True):
                    parameter.grad = gradient


@dataclass(frozen=True, eq=False)
class _Group:
    """Students whose objectives differ in numbers alone, so that one call computes the values of them all."""

    objective: Objective
    places: tuple[int, ...]  # in the pack
    index: Tensor  # the same, on the device: int64 [p]
    numbers: dict[str, Tensor]  # option -> float32 [p]

    def values(self, logits: Tensor, cls: Tensor, part: Part) -> dict[int, Tensor]:
        """Return place -> values of the objective, from the outputs of all students of the pack for a part."""
        cls = cls[:, :, : len(self.objective.layers)]

        def values(z_s: Tensor, h_s: Tensor, numbers: dict[str, Tensor]) -> Tensor:
            return self.objective(z_s, part.batch.labels, h_s, part.targets, numbers, part.labelled)

        students = logits.index_select(0, self.index), cls.index_select(0, self.index), self.numbers
        return dict(zip(self.places, vmap(values)(*students).unbind(), strict=True))


def _groups(objectives: Sequence[Objective], device: torch.device) -> list[_Group]:
    places: dict[Objective, list[int]] = {}
    for place, objective in enumerate(objectives):
        places.setdefault(objective.form, []).append(place)
    groups = []
    for form, members in places.items():
        index = torch.tensor(members, device=device)
        names = [name for name, _ in objectives[members[0]].numbers]
        numbers = {
            name: torch.tensor([dict(objectives[place].numbers)[name] for place in members], device=device)
            for name in names
        }
        groups.append(_Group(form, tuple(members), index, numbers))
    return groups


def _for_vmap(model: Any) -> Any:
    """Return a copy of a prepared model that shares its parameters and computes with operations that vmap can batch."""
    model = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    vars(model).pop("forward", None)  # Accelerate's, which computes in the precision of the run
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
    """Return one product of two matrices per student: vmap would repeat the weight for each example where S is 1."""
    product = hidden.flatten(0, -2) @ module.weight.t()
    if module.bias is not None:
        product = product + module.bias.to(product.dtype)  # as autocast has it inside of a linear layer
    return product.unflatten(0, hidden.shape[:-1])


def _embedding(module: nn.Embedding, ids: Tensor) -> Tensor:
    """Return rows of the table, [*ids.shape, H]: vmap's rule would transpose the tables of all students, twice."""
    rows = module.weight[ids]
    if module.padding_idx is not None:  # whose row is not trained
        rows = torch.where((ids == module.padding_idx).unsqueeze(-1), rows.detach(), rows)
    return rows
