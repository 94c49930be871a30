"""A student in training with its teacher in the loop: setup, models, batches, loss and optimizer of each contender.

All contenders start from the same weights and draw shuffled batches of the same examples; the loss is PKD-Skip in the
reduction "reference".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from pipeline.distillation.layer_map import pkd_skip
from pipeline.models.checkpoints import build_classifier
from pipeline.models.encoders import cut_config, depth_of
from pipeline.training.learner import adamw

EPOCHS = 4  # length of the learning rate schedule, as in the reference recipe
WARMUP = 0.1
WEIGHT_DECAY = 0.01


@dataclass(frozen=True, eq=False)
class StudentSetup:
    """Student, examples and options of all contenders. Raises ValueError for a student that has no layer to match."""

    teacher_config: Any  # of transformers; its num_labels are the classes
    student_layers: int
    examples: Sequence[np.ndarray]  # token ids with special tokens, at most `max_length` each
    labels: np.ndarray  # int64 [n]
    batch_size: int = 32
    max_length: int = 128
    device: str = "cpu"
    precision: str = "bfloat16"  # of `trainer_live`; the others compute in float32
    seed: int = 0
    temperature: float = 5.0
    alpha: float = 0.5
    beta: float = 100.0
    lr: float = 5e-5

    def __post_init__(self) -> None:
        if not 2 <= self.student_layers <= depth_of(self.teacher_config):
            raise ValueError(f"a student of {self.student_layers} layers has no layer to match")

    @property
    def matched(self) -> tuple[int, ...]:
        """Return the teacher layers that student layers 1 to K match."""
        return pkd_skip(depth_of(self.teacher_config), self.student_layers)


Batch = dict[str, Tensor]  # input_ids, attention_mask int64 [B, S]; labels int64 [B]


@dataclass(frozen=True)
class LiveTraining:
    """A student in training beside its teacher.

    `loss` returns the differentiable loss of a batch. `train` takes a number of optimizer steps, and returns the
    examples in them and the seconds that they took.
    """

    teacher: nn.Module
    student: nn.Module
    loss: Callable[[Batch], Tensor]
    train: Callable[[int], tuple[int, float]]

    def __call__(self, steps: int) -> tuple[int, float]:
        """Train, as each turn of a benchmark does."""
        return self.train(steps)


def teacher_and_student(setup: StudentSetup) -> tuple[nn.Module, nn.Module]:
    """Return a random teacher in evaluation mode, and its first layers, pooler and head in training mode."""
    torch.manual_seed(setup.seed)
    teacher = build_classifier(setup.teacher_config)
    student = build_classifier(cut_config(setup.teacher_config, setup.student_layers))
    weights = teacher.state_dict()
    student.load_state_dict({name: weights[name] for name in student.state_dict()})
    return teacher.to(setup.device).eval(), student.to(setup.device).train()


def pkd_skip_loss(setup: StudentSetup, labels: Tensor, of_student: Any, of_teacher: Any) -> Tensor:
    """Return the loss of a batch from the outputs of both models, written as a user of torch would write it."""
    temperature, matched = setup.temperature, setup.matched
    z_s, z_t = of_student.logits.float(), of_teacher.logits.float()
    log_q = functional.log_softmax(z_s / temperature, dim=-1)
    divergence = functional.kl_div(log_q, functional.softmax(z_t / temperature, dim=-1), reduction="sum")
    kd = temperature**2 * divergence / z_s.numel()
    h_s = torch.stack([of_student.hidden_states[layer][:, 0] for layer in range(1, len(matched) + 1)], dim=1).float()
    h_t = torch.stack([of_teacher.hidden_states[layer][:, 0] for layer in matched], dim=1).float()
    patience = functional.mse_loss(functional.normalize(h_s, dim=-1), functional.normalize(h_t, dim=-1))
    ce = functional.cross_entropy(z_s, labels)
    return (1 - setup.alpha) * ce + setup.alpha * kd + setup.beta * patience


def labelled_rows(setup: StudentSetup) -> list[dict[str, Any]]:
    """Return a dict of token ids and label for each example."""
    return [{"input_ids": ids, "labels": y} for ids, y in zip(setup.examples, setup.labels, strict=True)]


def collate(rows: Sequence[Mapping[str, Any]], width: int, setup: StudentSetup) -> Batch:
    """Return a batch padded to `width` tokens."""
    ids = np.full((len(rows), width), setup.teacher_config.pad_token_id or 0, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[index, :length] = row["input_ids"]
        mask[index, :length] = 1
    labels = np.array([row["labels"] for row in rows], np.int64)
    tensors = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in tensors.items()}


def padded_batches(setup: StudentSetup) -> DataLoader[Any]:
    """Return shuffled batches of examples padded to `max_length` beforehand; the last of an epoch may be smaller."""
    padded = collate(labelled_rows(setup), setup.max_length, setup)
    examples = [dict(zip(padded, values, strict=True)) for values in zip(*padded.values(), strict=True)]
    order = torch.Generator().manual_seed(setup.seed)
    return DataLoader(examples, batch_size=setup.batch_size, shuffle=True, generator=order)  # type: ignore[arg-type]


def endless(epoch: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from epoch


def optimizer_and_schedule(student: nn.Module, setup: StudentSetup) -> tuple[torch.optim.AdamW, Any]:
    """Return AdamW without decay of biases and LayerNorms, and the learning rate schedule of the reference recipe."""
    from transformers import get_linear_schedule_with_warmup

    optimizer = adamw(student, WEIGHT_DECAY, setup.lr)
    total = EPOCHS * -(-len(setup.examples) // setup.batch_size)
    return optimizer, get_linear_schedule_with_warmup(optimizer, round(total * WARMUP), total)
