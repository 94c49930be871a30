"""Live training with TextBrewer's `GeneralDistiller`."""

import tempfile
from typing import Any

from torch import Tensor

from pipeline.models.accelerator import synchronized_clock
from pipeline.system.optional_packages import package_directory
from pipeline.training.learner import CLIP_NORM
from stages.benchmarks.contenders.live_training import (
    Batch,
    LiveTraining,
    StudentSetup,
    optimizer_and_schedule,
    padded_batches,
    teacher_and_student,
)


def textbrewer(setup: StudentSetup) -> LiveTraining:
    """Train with a `GeneralDistiller` as in its examples: padded to `max_length`, float32, nothing saved.

    Its losses "ce" and "pkd" are the paper's sums: the weights turn them into our means, term by term. Its KD term
    leaves out the teacher's entropy, so its loss is larger by the constant alpha · T² / C · mean entropy; its gradient
    is the same. Raises `MissingExtra` if TextBrewer is not installed.
    """
    package_directory("textbrewer", "textbrewer", "benchmark peers", "peers")
    from textbrewer import GeneralDistiller, TrainingConfig

    teacher, student = teacher_and_student(setup)
    optimizer, schedule = optimizer_and_schedule(student, setup)
    batches = padded_batches(setup)

    class Unsaved(GeneralDistiller):  # type: ignore[misc, unused-ignore]
        def save_and_callback(self, *_: Any) -> None:
            """Do not write the student to disk at the end of a call."""

    def adaptor(_batch: Batch, output: Any) -> dict[str, Any]:
        return {"logits": output.logits, "hidden": output.hidden_states, "losses": output.loss}

    training = TrainingConfig(ckpt_steps=10**9, output_dir=tempfile.gettempdir(), device=setup.device)
    distiller = Unsaved(training, _distillation(setup), teacher, student, adaptor, adaptor)

    def train(steps: int) -> tuple[int, float]:
        sizes: list[int] = []

        def counted(batch: Batch) -> Batch:
            sizes.append(len(batch["labels"]))
            return batch

        start = synchronized_clock(setup.device)
        with distiller:
            distiller.train(
                optimizer,
                batches,
                scheduler=schedule,
                max_grad_norm=CLIP_NORM,
                num_steps=steps,
                batch_postprocessor=counted,
                output_hidden_states=True,
            )
        return sum(sizes), synchronized_clock(setup.device) - start

    def loss(batch: Batch) -> Tensor:
        total: Tensor = distiller.train_on_batch(batch, {"output_hidden_states": True})[0]
        return total

    return LiveTraining(teacher, student, loss, train)


def _distillation(setup: StudentSetup) -> Any:
    """Return TextBrewer's losses with the weights that turn them into PKD-Skip."""
    from textbrewer import DistillationConfig

    each = setup.beta / (len(setup.matched) * setup.teacher_config.hidden_size)
    return DistillationConfig(
        temperature=setup.temperature,
        kd_loss_type="ce",
        kd_loss_weight=setup.alpha * setup.temperature**2 / setup.teacher_config.num_labels,
        hard_label_weight=1 - setup.alpha,
        intermediate_matches=[
            {"layer_T": of_teacher, "layer_S": of_student, "feature": "hidden", "loss": "pkd", "weight": each}
            for of_student, of_teacher in enumerate(setup.matched, 1)
        ],
    )
