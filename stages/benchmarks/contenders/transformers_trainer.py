"""Live training with transformers' `Trainer`."""

import tempfile
from typing import Any

import torch
from torch import Tensor

from pipeline.models.accelerator import synchronized_clock
from stages.benchmarks.contenders.live_training import (
    Batch,
    LiveTraining,
    StudentSetup,
    collate,
    labelled_rows,
    pkd_skip_loss,
    teacher_and_student,
)

WARM_STEPS = 1  # at the start of each call, not timed


def trainer_live(setup: StudentSetup) -> LiveTraining:
    """Train with an unchanged `Trainer`: dynamic padding, `precision`, and the teacher in `compute_loss`.

    Each call runs `train()` once. Neither its first step nor its setup and end are timed.
    """
    from transformers import PrinterCallback, Trainer, TrainerCallback

    teacher, student = teacher_and_student(setup)
    sizes: list[int] = []  # of the batches of a call
    moments: list[float] = []  # ends of its first and of its last step

    class LiveTeacherTrainer(Trainer):  # type: ignore[misc, unused-ignore]
        def compute_loss(self, model: Any, inputs: Batch, *_: Any, **__: Any) -> Tensor:
            labels = inputs.pop("labels")
            sizes.append(len(labels))
            with torch.no_grad(), self.accelerator.autocast():
                of_teacher = teacher(**inputs, output_hidden_states=True)
            return pkd_skip_loss(setup, labels, model(**inputs, output_hidden_states=True), of_teacher)

    class Clock(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step in (WARM_STEPS, state.max_steps):
                moments.append(synchronized_clock(setup.device))

    arguments = _trainer_arguments(setup)
    trainer = LiveTeacherTrainer(
        model=student,
        args=arguments,
        train_dataset=labelled_rows(setup),
        data_collator=lambda parts: collate(parts, max(len(part["input_ids"]) for part in parts), setup),
        callbacks=[Clock],
    )
    trainer.remove_callback(PrinterCallback)
    calls = 0

    def train(steps: int) -> tuple[int, float]:
        nonlocal calls
        calls += 1
        torch.manual_seed(setup.seed + calls)  # the Trainer's order of examples: a different one per call
        sizes.clear()
        moments.clear()
        arguments.max_steps = WARM_STEPS + steps
        trainer.train()
        return sum(sizes[WARM_STEPS:]), moments[1] - moments[0]

    return LiveTraining(teacher, student, lambda batch: trainer.compute_loss(student, dict(batch)), train)


def _trainer_arguments(setup: StudentSetup) -> Any:
    """Return the Trainer's defaults except for precision, with nothing logged or saved."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=tempfile.gettempdir(),  # nothing is written
        per_device_train_batch_size=setup.batch_size,
        learning_rate=setup.lr,
        bf16=setup.precision == "bfloat16",
        use_cpu=setup.device == "cpu",
        dataloader_pin_memory=setup.device != "cpu",
        seed=setup.seed,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
