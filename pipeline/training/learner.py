"""One model in training: forward, loss, backward, AdamW step. A teacher and a student differ in their objective.

Dropout of a step is seeded by the run's seed, the number of the step and the process, so that a resumed run draws
the masks of an uninterrupted one, and a checkpoint does not need the state of a generator.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.shared import TrainingConfig
from pipeline.data.batching import Batch, by_length, collate
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind
from pipeline.distillation.labelled_examples import ALL_LABELLED, LabelledExamples
from pipeline.distillation.losses import Targets
from pipeline.distillation.objective import Objective
from pipeline.models.accelerator import prepare_for_cls
from pipeline.models.checkpoints import write_settings
from pipeline.models.encoders import cls_vectors
from pipeline.models.probe import running

CLIP_NORM = 1.0
GRAD_NORM = "grad_norm"
EVALUATION_BATCH = 64  # sequences
MAPS = "maps."  # before the names of their parameters
_MOMENTS = ("exp_avg", "exp_avg_sq")


def learning_rate(step: int, total: int, peak: float, warmup: float) -> float:
    """Return the rate of step `step` (from 0): it rises over the share `warmup` of the steps, then falls to 0."""
    rising = round(total * warmup)
    if step < rising:
        return peak * step / rising
    return peak * (total - step) / max(1, total - rising)


def seed_everything(*numbers: int) -> None:
    """Seed torch from several numbers; its CPU generator takes 32 bits, so they are mixed down to these."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


@dataclass(frozen=True)
class Part:
    """A batch of one optimizer step with its targets; `weight` is its share of the step's examples."""

    batch: Batch
    targets: Targets
    weight: float
    labelled: LabelledExamples = ALL_LABELLED


class EncoderLearner:
    """A model trained for an `Objective`, in the given Accelerator's precision and on its device.

    `maps`, of [CLS] vectors to the width of the targets, are trained with it. `named` has every trained parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        config: TrainingConfig,
        accelerator: Any,
        pad_id: int,
        maps: nn.Module | None = None,
    ):
        self.accelerator = accelerator
        self.objective = objective
        self.config = config
        self.pad_id = pad_id
        self.model = accelerator.prepare(prepare_for_cls(model, accelerator.device))
        self.bare = accelerator.unwrap_model(self.model)
        self.maps = maps.to(accelerator.device) if maps is not None else None
        self.named = dict(self.bare.named_parameters()) | self._map_parameters()
        self.parameters = [*self.named.values()]
        self.optimizer = adamw(self.bare, config.weight_decay)
        if self.maps is not None:
            self.optimizer.add_param_group({"params": [*self.maps.parameters()], "weight_decay": config.weight_decay})

    def _map_parameters(self) -> dict[str, nn.Parameter]:
        return {f"{MAPS}{name}": parameter for name, parameter in (self.maps or nn.Module()).named_parameters()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The target columns that a step needs."""
        return self.objective.columns

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that a step returns."""
        return (*self.objective.names, GRAD_NORM)

    def step(self, parts: Sequence[Part], step: int, total: int) -> Tensor:
        """Take optimizer step `step` of `total` (from 0) over `parts`; several are accumulated.

        Returns this process's share of the values called `names`, [len(names)], left on the device. The norm of the
        gradient is that before it is clipped at 1.
        """
        accelerator = self.accelerator
        seed_everything(self.config.seed, step, accelerator.process_index)
        self.model.train()
        self.optimizer.zero_grad()
        terms = []
        for part in parts[:-1]:
            with accelerator.no_sync(self.model):
                terms.append(self._backward(part))
        terms.append(self._backward(parts[-1]))
        if accelerator.num_processes > 1:  # the model averages its own
            for parameter in self._map_parameters().values():
                parameter.grad = accelerator.reduce(parameter.grad, "mean")
        return torch.cat([torch.stack(terms).sum(0), self.update(step, total) / accelerator.num_processes])

    def update(self, step: int, total: int) -> Tensor:
        """Take the AdamW step along the present gradients; return their norm [1] before it is clipped at 1."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, total, self.config.lr, self.config.warmup)
        norm = nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.optimizer.step()
        return norm.detach()[None]

    def _backward(self, part: Part) -> Tensor:
        batch, matched = part.batch, range(1, len(self.objective.layers) + 1)
        with running(self.bare), cls_vectors(self.bare, matched) as vectors:
            logits = self.model(**batch.inputs).logits
        h_s = torch.stack([cls.float() for cls in vectors], dim=1) if matched else None
        if self.maps is not None:
            h_s = self.maps(h_s)
        terms = self.objective(logits, batch.labels, h_s, part.targets, labelled=part.labelled)
        # Gradients are averaged over the processes: times their number makes them a sum of shares.
        self.accelerator.backward(terms[0] * (part.weight * self.accelerator.num_processes))
        return terms.detach() * part.weight

    def predict(self, split: Split) -> np.ndarray:
        """Return logits float32 [n, C] of every example of a split, on every process."""
        return predict(self.bare, split, self.pad_id, self.accelerator)

    def configure(self, kind: TaskKind) -> None:
        """Put the settings of its predictions, as a threshold, into the model's configuration."""
        write_settings(self.bare.config, kind.settings)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the model's weights on the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.bare.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put these weights into the model."""
        self.bare.load_state_dict(weights)

    def release(self) -> None:
        """Free its memory, its share of a pack's stack included.

        An Accelerator keeps all models that it ever prepared.
        """
        self.optimizer.state.clear()
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.data.new_empty(0), None

    def state(self) -> dict[str, Tensor]:
        """Return weights, maps and optimizer moments by name, for a checkpoint."""
        tensors = {f"model.{name}": tensor for name, tensor in self.weights().items()}
        tensors |= {name: parameter.detach().cpu().clone() for name, parameter in self._map_parameters().items()}
        for name, parameter in self.named.items():
            for moment in _MOMENTS:
                if parameter in self.optimizer.state:
                    tensors[f"{moment}.{name}"] = self.optimizer.state[parameter][moment].detach().cpu()
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Restore a `state` of `steps` optimizer steps. Raises KeyError or RuntimeError if it does not fit."""
        prefix = "model."
        self.load_weights({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name, parameter in self._map_parameters().items():
            parameter.data.copy_(tensors[name])
        for name, parameter in self.named.items():
            if f"{_MOMENTS[0]}.{name}" in tensors:
                moments = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in _MOMENTS}
                count = torch.tensor(float(steps), device=parameter.device)
                self.optimizer.state[parameter] = {"step": count, **moments}


def adamw(model: nn.Module, weight_decay: float, lr: float = 1e-3) -> torch.optim.AdamW:
    """Return fused AdamW; biases and LayerNorm weights, the parameters of one dimension, do not decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def predict(model: Any, split: Split, pad_id: int, accelerator: Any, ids: np.ndarray | None = None) -> np.ndarray:
    """Return logits float32 [len(ids), C], by default of all examples; processes share the work, all get the result."""
    model.eval()
    ids = np.arange(len(split)) if ids is None else ids
    return outputs(
        lambda batch: model(**batch.inputs).logits, (model.config.num_labels,), split, ids, pad_id, accelerator
    )


@torch.inference_mode()
def outputs(
    forward: Callable[[Batch], Tensor],
    shape: tuple[int, ...],
    split: Split,
    ids: np.ndarray,
    pad_id: int,
    accelerator: Any,
) -> np.ndarray:
    """Return the output of `forward` ([B, *shape] for a batch) for each example: float32 [len(ids), *shape]."""
    results = torch.zeros(len(ids), *shape, device=accelerator.device)
    batches = by_length(np.arange(len(ids)), split.lengths[ids], split.examples_in(EVALUATION_BATCH))
    for places in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = collate(split, ids[places], pad_id).to(accelerator.device)
        with accelerator.autocast():
            results[torch.from_numpy(places)] = forward(batch).float()
    if accelerator.num_processes > 1:
        results = accelerator.reduce(results, "sum")
    return results.cpu().numpy()
