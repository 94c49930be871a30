"""The one training loop. It advances a `Learner`, asks `Signals` for the targets of each batch, evaluates, keeps
checkpoints, and never asks what kind of learner or of signals it has.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.batching import BatchOrder, collate, subset
from pipeline.configs import TrainingConfig
from pipeline.errors import BadOption, BadRun, Interrupted, TrainingDiverged
from pipeline.examples import Split
from pipeline.learner import Part, learning_rate
from pipeline.metrics import measure
from pipeline.position import Evaluation, Paused, Position, Progress, Trained
from pipeline.progress import bar, note
from pipeline.runs import RunDirectory
from pipeline.signals import Signals
from pipeline.stopping import StopRequest, stop_requests

AHEAD = 4  # steps between the time when a batch's targets are asked for and the time when they are used


class Learner(Protocol):
    """What the loop trains: one model, or several at once."""

    pad_id: int

    @property
    def layers(self) -> tuple[int, ...]: ...

    def step(self, parts: Sequence[Part], step: int, total: int) -> Tensor: ...

    def predict(self, split: Split) -> np.ndarray: ...

    def weights(self) -> dict[str, Tensor]: ...

    def load_weights(self, weights: Mapping[str, Tensor]) -> None: ...

    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, tensors: Mapping[str, Tensor], steps: int) -> None: ...


class Check(Protocol):
    """Something that goes on beside a training and may find that it must not count."""

    def poll(self) -> None: ...

    def wait(self) -> None: ...


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


class Training:
    """One training of `learner` on `split`, judged on `dev` (None: no judge, the last weights are kept)."""

    def __init__(
        self,
        learner: Learner,
        split: Split,
        signals: Signals | None,
        dev: Split | None,
        metrics: Sequence[str],
        config: TrainingConfig,
        accelerator: Any,
        run: RunDirectory,
        description: str,
        check: Check | None = None,
        watch: Callable[[Progress], None] | None = None,
    ):
        self.learner, self.split, self.signals = learner, split, signals
        self.dev, self.metrics = dev, metrics
        self.config, self.accelerator, self.run, self.description = config, accelerator, run, description
        self.check, self.watch = check, watch
        self.schedule = Schedule.of(config, split.lengths)
        self.order, self.total = self.schedule.order, self.schedule.total
        self.steps_per_epoch = self.schedule.steps_per_epoch
        self.position = Position()
        self.best_weights: dict[str, Tensor] = {}
        self.pending: list[tuple[int, Tensor]] = []

    def train(self, until: int | None = None) -> Trained | Paused:
        """To the end; or, where that is less, to step `until`, with a checkpoint and an evaluation there.

        Raises `TrainingDiverged` for a loss that is not finite, `Interrupted` after a signal.
        """
        self._restore()
        stop_at = self.total if until is None else min(until, self.total)
        trained_examples, seconds, stopped_early = 0, 0.0, False
        checkpoint_due = time.monotonic() + self.config.checkpoint_seconds
        done, total = self._examples_before(self.position.step), self._examples_before(self.total)
        shown = self.accelerator.is_main_process and self.watch is None
        progress = bar(total, self.description, "ex", done, show=shown)
        with stop_requests() as stop, progress:
            while self.position.step < stop_at and not stopped_early:
                started = time.monotonic()
                if self.check:
                    self.check.poll()
                step = self.position.step
                parts = self._parts(step)
                self.pending.append((step, self.learner.step(parts, step, self.total)))
                self.position.step = step + 1
                if self.position.step % self.config.log_every == 0:
                    progress.set_postfix(loss=f"{self._flush():.4f}", refresh=False)
                seconds += time.monotonic() - started
                examples = sum(len(ids) for ids in self._batches(step))
                trained_examples += examples
                progress.update(examples)
                if self._evaluation_due():
                    stopped_early = self._evaluate()
                if self.watch:
                    step, last = self.position.step, self.position.last
                    self.watch(Progress(step, self.total, trained_examples, seconds, last))
                ended = stopped_early or self.position.step == self.total
                stopping, saving = self._agree(bool(stop.number), time.monotonic() >= checkpoint_due)
                if (stopping or saving) and not ended:
                    self._save()
                    checkpoint_due = time.monotonic() + self.config.checkpoint_seconds
                if stopping and not ended:
                    raise self._interrupted(stop)
        if self.position.step < self.total and not stopped_early:
            return self._pause()
        self._flush()
        if self.config.select == "best" and self.best_weights:
            self.learner.load_weights(self.best_weights)
        rate = trained_examples / seconds if seconds else 0.0
        return Trained(self.position.step, self.position.best, self.position.last, stopped_early, rate)

    def _batches(self, step: int) -> list[np.ndarray]:
        """The batches of an optimizer step; the last step of an epoch may have fewer than --grad-accumulation."""
        epoch, index = divmod(step, self.steps_per_epoch)
        first = index * self.config.grad_accumulation
        return self.order.epoch(epoch)[first : first + self.config.grad_accumulation]

    def _examples_before(self, step: int) -> int:
        return self.schedule.examples_before(step, self.config.grad_accumulation)

    def _parts(self, step: int) -> list[Part]:
        """This process's share of each batch of a step, with its targets."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        batches = self._batches(step)
        if self.signals and step + AHEAD < self.total:
            for ids in self._batches(step + AHEAD):
                self.signals.prefetch(ids, self.learner.layers)
        examples = sum(len(ids) for ids in batches)
        parts = []
        for ids in batches:
            share = ids[rank::world]
            # A process without a share still takes part in the exchange of gradients, with weight 0.
            batch = collate(self.split, share if len(share) else ids[:1], self.learner.pad_id)
            batch = batch.to(self.accelerator.device)
            targets = self.signals.for_batch(batch, self.learner.layers) if self.signals else None
            parts.append(Part(batch, targets, len(share) / examples))
        return parts

    # --- evaluation and log ----------------------------------------------------------------------------------

    def _evaluation_due(self) -> bool:
        step = self.position.step
        return step == self.total or step % (self.config.eval_every or self.steps_per_epoch) == 0

    def _evaluate(self) -> bool:
        """Judge the weights on the dev split; True if training is to stop early."""
        self._flush()
        if self.dev is None:
            return False
        position = self.position
        position.last = self._judge(self.dev, "eval")
        if position.best is None or position.last.score > position.best.score:
            position.best, position.waited = position.last, 0
            if self.config.select == "best":
                self.best_weights = self.learner.weights()
        else:
            position.waited += 1
        return bool(self.config.early_stop) and position.waited >= self.config.early_stop

    def _judge(self, dev: Split, kind: str) -> Evaluation:
        step = self.position.step
        metrics = measure(self.metrics, self.learner.predict(dev), dev.labels)
        evaluation = Evaluation(step, round(step / self.steps_per_epoch, 4), metrics)
        self._log([{"kind": kind, "split": dev.name, **vars(evaluation)}])
        return evaluation

    def _pause(self) -> Paused:
        """Raises `BadOption` without a dev split: nobody could say how far the training came."""
        if self.dev is None:
            raise BadOption("a training without a labelled dev split cannot be compared on the way")
        last = self.position.last
        evaluation = last if last and last.step == self.position.step else self._judge(self.dev, "rung")
        self._save()
        return Paused(self.position.step, self.total, evaluation)

    def _flush(self) -> float:
        """Fetch the loss terms of the steps since the last flush in one copy, check and log them; the last loss."""
        if not self.pending:
            return math.nan
        steps, terms = zip(*self.pending, strict=True)
        self.pending = []
        values = torch.stack(terms)
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, "sum")
        rows = values.tolist()
        for step, row in zip(steps, rows, strict=True):
            if not all(map(math.isfinite, row)):
                kept = "the last checkpoint is kept" if self.run.has_checkpoint() else "no checkpoint was written yet"
                raise TrainingDiverged(
                    f"the loss or its gradient is not finite at step {step + 1} of {self.total} (loss, CE, KD, PT: "
                    f"{', '.join(f'{v:g}' for v in row[:4])}); {kept} in {self.run.path}. Try a smaller --lr or --beta"
                )
        self._log([self._line(s, row) for s, row in zip(steps, rows, strict=True) if self._is_logged(s)])
        return float(rows[-1][0])

    def _is_logged(self, step: int) -> bool:
        return (step + 1) % self.config.log_every == 0 or step + 1 == self.total

    def _line(self, step: int, row: list[float]) -> dict[str, Any]:
        loss, ce, kd, pt, *by_layer, grad_norm = row
        line: dict[str, Any] = {
            "kind": "train",
            "step": step + 1,
            "epoch": round((step + 1) / self.steps_per_epoch, 4),
        }
        line |= {"lr": learning_rate(step, self.total, self.config.lr, self.config.warmup), "loss": loss}
        line |= {"grad_norm": grad_norm, "ce": ce}
        if self.signals:
            line["kd"] = kd
        if self.learner.layers:
            line |= {"pt": pt, "pt_by_layer": dict(zip(map(str, self.learner.layers), by_layer, strict=True))}
        return line

    def _log(self, lines: list[dict[str, Any]]) -> None:
        if self.accelerator.is_main_process:
            self.run.log(lines)

    # --- checkpoints -----------------------------------------------------------------------------------------

    def _agree(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """What any process wants, all do."""
        if self.accelerator.num_processes == 1:
            return stop, save
        flags = self.accelerator.reduce(torch.tensor([stop, save], device=self.accelerator.device).float(), "sum")
        return bool(flags[0]), bool(flags[1])

    def _save(self) -> None:
        if self.check:
            self.check.wait()  # a checkpoint outlives what it was computed from
        self._flush()
        if self.accelerator.is_main_process:
            best = {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
            self.run.save_checkpoint(self.learner.state() | best, self.position.as_json())

    def _restore(self) -> None:
        loaded = self.run.load_checkpoint(cut_log=self.accelerator.is_main_process)
        if loaded is None:
            return
        tensors, position = loaded
        try:
            self.position = Position.from_json(position)
            self.learner.load_state(tensors, self.position.step)
        except (KeyError, TypeError, RuntimeError) as error:
            raise BadRun(
                f"the checkpoint in {self.run.path} does not fit this model. Remove {self.run.path} to start again"
            ) from error
        self.best_weights = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}
        if self.accelerator.is_main_process:
            note(f"going on from step {self.position.step} of {self.total}")

    def _interrupted(self, stop: StopRequest) -> Interrupted:
        return Interrupted(
            f"stopped at step {self.position.step} of {self.total}; the checkpoint is in {self.run.path}. "
            "Run the same command with --resume to go on",
            stop.number or 15,
        )
