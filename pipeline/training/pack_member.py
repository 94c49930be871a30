"""One run in training: its state, log, evaluations, early stop and best weights, and its checkpoint.

Whether its steps are computed alone or in a pack does not matter here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pipeline.config.shared import TrainingConfig
from pipeline.data.batching import BatchOrder
from pipeline.data.splits import Split
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.training_set import TrainingSet
from pipeline.distillation.objective import LOSS, as_record
from pipeline.errors import BadRun, DistillError, Interrupted, TrainingDiverged
from pipeline.training.learner import GRAD_NORM, EncoderLearner, learning_rate
from pipeline.training.run_directory import RunDirectory
from pipeline.training.trackers.tracked_run import FAILED
from pipeline.training.training_state import Evaluation, PausedTraining, TrainingResult, TrainingState

MemberResult = TrainingResult | PausedTraining | DistillError


@dataclass(frozen=True)
class Schedule:
    """The length of a training: its order of batches and its optimizer steps."""

    order: BatchOrder
    steps_per_epoch: int
    total: int

    @classmethod
    def of_training(cls, config: TrainingConfig, examples: TrainingSet) -> "Schedule":
        """Return the schedule of a training on these examples."""
        lengths = examples.split.lengths[examples.ids]
        order = BatchOrder(examples.ids, lengths, config.batch_size, config.data_seed)
        steps_per_epoch = math.ceil(order.batches_per_epoch / config.grad_accumulation)
        total = max(1, math.ceil(config.epochs * steps_per_epoch - 1e-9))
        return cls(order, steps_per_epoch, min(total, config.max_steps) if config.max_steps else total)

    def examples_before(self, step: int, grad_accumulation: int) -> int:
        """Return the number of examples in the steps before this one."""
        epoch, index = divmod(step, self.steps_per_epoch)
        part = self.order.epoch(epoch)[: index * grad_accumulation]
        return epoch * len(self.order.ids) + sum(len(ids) for ids in part)


class PackMember:
    """A run in training, whose model is in `learner`. `outcome` is set when it is to train no further.

    `shared_options`: option -> value, of the options that members of one pack must have in common.
    """

    def __init__(
        self,
        learner: EncoderLearner,
        schedule: Schedule,
        config: TrainingConfig,
        run: RunDirectory,
        metrics: TaskMetrics,
        shared_options: Mapping[str, Any] | None = None,
    ):
        self.learner, self.schedule, self.config, self.run = learner, schedule, config, run
        self.metrics, self.shared_options = metrics, shared_options or {}
        self.state = TrainingState()
        self.latest: Evaluation | None = None  # of any kind, one on the way included
        self.best_weights: dict[str, Tensor] = {}
        self.examples, self.seconds = 0, 0.0  # trained on since it was restored, and for how long
        self.outcome: MemberResult | None = None

    @property
    def writes(self) -> bool:
        """Whether this process writes the run."""
        return bool(self.learner.accelerator.is_main_process)

    # --- log and evaluation ----------------------------------------------------------------------------------

    def record(self, steps: Sequence[int], values: Sequence[Mapping[str, float]]) -> None:
        """Log the values of these steps, by their names in `EncoderLearner.names`.

        Raises `TrainingDiverged` for a value that is not finite.
        """
        for step, named in zip(steps, values, strict=True):
            if not all(map(math.isfinite, named.values())):
                self.run.tracking.state = FAILED
                raise self._diverged(step, named)
        logged = [s for s in steps if (s + 1) % self.config.log_every == 0 or s + 1 == self.schedule.total]
        self._log([self._line(s, named) for s, named in zip(steps, values, strict=True) if s in logged])

    def _diverged(self, step: int, values: Mapping[str, float]) -> TrainingDiverged:
        kept = "the last checkpoint is kept" if self.run.has_checkpoint() else "no checkpoint was written yet"
        terms = ", ".join(f"{name} {value:g}" for name, value in values.items() if "." not in name)
        return TrainingDiverged(
            f"the loss or its gradient is not finite at step {step + 1} of {self.schedule.total} ({terms}); {kept} in "
            f"{self.run.path}. Try a smaller --lr or --beta"
        )

    def _line(self, step: int, values: Mapping[str, float]) -> dict[str, Any]:
        line: dict[str, Any] = {
            "kind": "train",
            "step": step + 1,
            "epoch": round((step + 1) / self.schedule.steps_per_epoch, 4),
            "lr": learning_rate(step, self.schedule.total, self.config.lr, self.config.warmup),
        }
        return line | {name: values[name] for name in (LOSS, GRAD_NORM)} | as_record(values)

    @property
    def evaluated(self) -> bool:
        """Whether its present weights have been evaluated."""
        return self.latest is not None and self.latest.step == self.state.step

    def evaluate_on_the_way(self, logits: np.ndarray, dev: Split) -> None:
        """Evaluate these logits [n, C] of the dev split without a say in which weights are kept."""
        self._evaluate(logits, dev, "rung")

    def evaluate(self, logits: np.ndarray, dev: Split) -> bool:
        """Evaluate these logits [n, C] and keep the weights if they are the best; return whether to stop early."""
        state = self.state
        state.last = self._evaluate(logits, dev, "eval")
        if state.best is None or state.last.score > state.best.score:
            state.best, state.waited = state.last, 0
            if self.config.select == "best":
                self.best_weights = self.learner.weights()
        else:
            state.waited += 1
        return bool(self.config.early_stop) and state.waited >= self.config.early_stop

    def _evaluate(self, logits: np.ndarray, dev: Split, kind: str) -> Evaluation:
        step = self.state.step
        metrics = self.metrics.tuned(logits, dev.labels).measure(logits, dev.labels)
        evaluation = self.latest = Evaluation(step, round(step / self.schedule.steps_per_epoch, 4), metrics)
        self._log([{"kind": kind, "split": dev.name, **vars(evaluation)}])
        return evaluation

    def _log(self, lines: list[dict[str, Any]]) -> None:
        if self.writes:
            self.run.log(lines)

    # --- end or pause ------------------------------------------------------------------------

    def finish(self, stopped_early: bool) -> TrainingResult:
        """Put the weights that are kept into the learner, and return the result."""
        if self.config.select == "best" and self.best_weights:
            self.learner.load_weights(self.best_weights)
        rate = self.examples / self.seconds if self.seconds else 0.0
        return TrainingResult(self.state.step, self.state.best, self.state.last, stopped_early, rate)

    def pause(self) -> PausedTraining:
        """Return its result at a pause: its latest evaluation."""
        assert self.latest is not None
        return PausedTraining(self.state.step, self.schedule.total, self.latest)

    def interrupted(self, signal_number: int) -> Interrupted:
        """Return its result after a signal."""
        resumes = "" if self.config.resume else " with --resume"  # quickstart and sweep always do
        return Interrupted(
            f"stopped at step {self.state.step} of {self.schedule.total}; the checkpoint is in {self.run.path}. "
            f"Run the same command{resumes} to go on",
            signal_number,
        )

    # --- checkpoint ------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint, in the process that writes the run."""
        if self.writes:
            best = {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
            self.run.save_checkpoint(self.learner.state() | best, self.state.as_json())

    def restore(self) -> None:
        """Go back to the checkpoint, if there is one, and start the tracker.

        Raises `BadRun` for a checkpoint of another model, `BadTracker` for a tracker that does not start.
        """
        self._load_checkpoint()
        if self.writes:
            self.run.start_tracking()

    def _load_checkpoint(self) -> None:
        loaded = self.run.load_checkpoint(cut_log=self.writes)
        if loaded is None:
            return
        tensors, state = loaded
        try:
            self.state = TrainingState.from_json(state)
            self.latest = self.state.last
            self.learner.load_state(tensors, self.state.step)
        except (KeyError, TypeError, RuntimeError) as error:
            raise BadRun(
                f"the checkpoint in {self.run.path} does not fit this model. Remove {self.run.path} to start again"
            ) from error
        self.best_weights = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}
