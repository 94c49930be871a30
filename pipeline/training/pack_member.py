"""One run in training: where it stands, its log, evaluations, early stop and best weights, and its checkpoint. What
computes its steps, alone or with others, is no matter here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pipeline.config.shared import TrainingConfig
from pipeline.data.batching import BatchOrder, subset
from pipeline.data.metrics import measure
from pipeline.data.splits import Split
from pipeline.errors import BadRun, DistillError, Interrupted, TrainingDiverged
from pipeline.training.learner import EncoderLearner, learning_rate
from pipeline.training.run_directory import RunDirectory
from pipeline.training.training_state import Evaluation, PausedTraining, TrainingResult, TrainingState

Outcome = TrainingResult | PausedTraining | DistillError


@dataclass(frozen=True)
class Schedule:
    """How long a training on `examples` examples is: its order of batches and its optimizer steps."""

    order: BatchOrder
    steps_per_epoch: int
    total: int

    @classmethod
    def of(cls, config: TrainingConfig, lengths: np.ndarray) -> "Schedule":
        """`lengths` are those of all examples of the split."""
        ids = subset(len(lengths), config.max_train_examples, config.data_seed)
        order = BatchOrder(ids, lengths[ids], config.batch_size, config.data_seed)
        steps_per_epoch = math.ceil(order.batches_per_epoch / config.grad_accumulation)
        total = max(1, math.ceil(config.epochs * steps_per_epoch - 1e-9))
        return cls(order, steps_per_epoch, min(total, config.max_steps) if config.max_steps else total)

    def examples_before(self, step: int, grad_accumulation: int) -> int:
        """Examples in the steps before this one."""
        epoch, index = divmod(step, self.steps_per_epoch)
        part = self.order.epoch(epoch)[: index * grad_accumulation]
        return epoch * len(self.order.ids) + sum(len(ids) for ids in part)


class PackMember:
    """A run in training, of which `learner` holds the model. `outcome` is set when it is to train no further.

    `distils`: whether the teacher's targets are part of what it is trained for.
    """

    def __init__(
        self,
        learner: EncoderLearner,
        schedule: Schedule,
        config: TrainingConfig,
        run: RunDirectory,
        metrics: Sequence[str],
        distils: bool,
    ):
        self.learner, self.schedule, self.config, self.run = learner, schedule, config, run
        self.metrics, self.distils = metrics, distils
        self.position = TrainingState()
        self.latest: Evaluation | None = None  # whether it counts or not
        self.best_weights: dict[str, Tensor] = {}
        self.examples, self.seconds = 0, 0.0  # trained on since it was restored, and for how long
        self.outcome: Outcome | None = None

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes the run."""
        return bool(self.learner.accelerator.is_main_process)

    # --- log and evaluation ----------------------------------------------------------------------------------

    def record(self, steps: Sequence[int], rows: Sequence[list[float]]) -> None:
        """Log the loss terms of these steps, [loss, CE, KD, PT, PT of each layer, gradient norm] each.

        Raises `TrainingDiverged` for a term that is not finite.
        """
        for step, row in zip(steps, rows, strict=True):
            if not all(map(math.isfinite, row)):
                raise self._diverged(step, row)
        logged = [s for s in steps if (s + 1) % self.config.log_every == 0 or s + 1 == self.schedule.total]
        lines = [self._line(s, row) for s, row in zip(steps, rows, strict=True) if s in logged]
        self._log(lines)

    def _diverged(self, step: int, row: list[float]) -> TrainingDiverged:
        kept = "the last checkpoint is kept" if self.run.has_checkpoint() else "no checkpoint was written yet"
        return TrainingDiverged(
            f"the loss or its gradient is not finite at step {step + 1} of {self.schedule.total} (loss, CE, KD, PT: "
            f"{', '.join(f'{v:g}' for v in row[:4])}); {kept} in {self.run.path}. Try a smaller --lr or --beta"
        )

    def _line(self, step: int, row: list[float]) -> dict[str, Any]:
        loss, ce, kd, pt, *by_layer, grad_norm = row
        line: dict[str, Any] = {
            "kind": "train",
            "step": step + 1,
            "epoch": round((step + 1) / self.schedule.steps_per_epoch, 4),
        }
        line |= {"lr": learning_rate(step, self.schedule.total, self.config.lr, self.config.warmup), "loss": loss}
        line |= {"grad_norm": grad_norm, "ce": ce}
        if self.distils:
            line["kd"] = kd
        if self.learner.layers:
            line |= {"pt": pt, "pt_by_layer": dict(zip(map(str, self.learner.layers), by_layer, strict=True))}
        return line

    @property
    def judged(self) -> bool:
        """Whether its weights as they are have been."""
        return self.latest is not None and self.latest.step == self.position.step

    def judge(self, logits: np.ndarray, dev: Split) -> None:
        """What these logits [n, C] of the dev split are worth: an evaluation on the way, which decides nothing."""
        self._judge(logits, dev, "rung")

    def evaluate(self, logits: np.ndarray, dev: Split) -> bool:
        """An evaluation that counts: keep the weights if it is the best; True if training is to stop early."""
        position = self.position
        position.last = self._judge(logits, dev, "eval")
        if position.best is None or position.last.score > position.best.score:
            position.best, position.waited = position.last, 0
            if self.config.select == "best":
                self.best_weights = self.learner.weights()
        else:
            position.waited += 1
        return bool(self.config.early_stop) and position.waited >= self.config.early_stop

    def _judge(self, logits: np.ndarray, dev: Split, kind: str) -> Evaluation:
        step = self.position.step
        metrics = measure(self.metrics, logits, dev.labels)
        evaluation = self.latest = Evaluation(step, round(step / self.schedule.steps_per_epoch, 4), metrics)
        self._log([{"kind": kind, "split": dev.name, **vars(evaluation)}])
        return evaluation

    def _log(self, lines: list[dict[str, Any]]) -> None:
        if self.writes:
            self.run.log(lines)

    # --- its end, for now or for good ------------------------------------------------------------------------

    def finish(self, stopped_early: bool) -> TrainingResult:
        """Put the weights that are kept into the learner."""
        if self.config.select == "best" and self.best_weights:
            self.learner.load_weights(self.best_weights)
        rate = self.examples / self.seconds if self.seconds else 0.0
        return TrainingResult(self.position.step, self.position.best, self.position.last, stopped_early, rate)

    def pause(self) -> PausedTraining:
        assert self.latest is not None
        return PausedTraining(self.position.step, self.schedule.total, self.latest)

    def interrupted(self, signal_number: int) -> Interrupted:
        resumes = "" if self.config.resume else " with --resume"  # quickstart and sweep always do
        return Interrupted(
            f"stopped at step {self.position.step} of {self.schedule.total}; the checkpoint is in {self.run.path}. "
            f"Run the same command{resumes} to go on",
            signal_number,
        )

    # --- checkpoint ------------------------------------------------------------------------------------------

    def save(self) -> None:
        if self.writes:
            best = {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
            self.run.save_checkpoint(self.learner.state() | best, self.position.as_json())

    def restore(self) -> None:
        """Go back to the checkpoint, if there is one. Raises `BadRun` for one of another model."""
        loaded = self.run.load_checkpoint(cut_log=self.writes)
        if loaded is None:
            return
        tensors, position = loaded
        try:
            self.position = TrainingState.from_json(position)
            self.latest = self.position.last
            self.learner.load_state(tensors, self.position.step)
        except (KeyError, TypeError, RuntimeError) as error:
            raise BadRun(
                f"the checkpoint in {self.run.path} does not fit this model. Remove {self.run.path} to start again"
            ) from error
        self.best_weights = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}
