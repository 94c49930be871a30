"""Live training as in the authors' released code."""

import torch
from torch import Tensor, nn

from pipeline.models.accelerator import synchronized_clock
from pipeline.training.learner import CLIP_NORM
from stages.benchmarks.contenders.live_training import (
    Batch,
    LiveTraining,
    StudentSetup,
    endless,
    optimizer_and_schedule,
    padded_batches,
    pkd_skip_loss,
    teacher_and_student,
)


def authors_way(setup: StudentSetup) -> LiveTraining:
    """Train as the authors' code does: padded to `max_length`, float32, hidden states of all tokens."""
    teacher, student = teacher_and_student(setup)
    batches = endless(padded_batches(setup))
    optimizer, schedule = optimizer_and_schedule(student, setup)

    def loss(batch: Batch) -> Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with torch.no_grad():
            of_teacher = teacher(**inputs, output_hidden_states=True)
        return pkd_skip_loss(setup, batch["labels"], student(**inputs, output_hidden_states=True), of_teacher)

    def train(steps: int) -> tuple[int, float]:
        examples, start = 0, synchronized_clock(setup.device)
        for _ in range(steps):
            batch = {name: tensor.to(setup.device) for name, tensor in next(batches).items()}
            optimizer.zero_grad(set_to_none=True)
            loss(batch).backward()
            nn.utils.clip_grad_norm_(student.parameters(), CLIP_NORM)
            optimizer.step()
            schedule.step()
            examples += len(batch["labels"])
        return examples, synchronized_clock(setup.device) - start

    return LiveTraining(teacher, student, loss, train)
