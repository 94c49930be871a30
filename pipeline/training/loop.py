"""The one training loop, for one run or for several whose learners train as one model.

It requests the targets of each batch from a `TargetSource` and does not know whether they are cached or live.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.config.shared import TrainingConfig
from pipeline.data.batching import collate
from pipeline.data.splits import Split
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.training_set import TrainingSet, draw_training_set
from pipeline.distillation.labelled_examples import LabelledExamples
from pipeline.distillation.objective import LOSS
from pipeline.distillation.targets import TargetSource
from pipeline.errors import BadOption, BadRun, BadTracker, DistillError, TrainingDiverged
from pipeline.system.interrupts import StopRequest, stop_requests
from pipeline.system.progress import bar, note
from pipeline.training.learner import EncoderLearner, Part
from pipeline.training.pack import EXAMPLES, STEPS, PackLearner, check_alike
from pipeline.training.pack_member import MemberResult, PackMember, Schedule
from pipeline.training.run_directory import RunDirectory
from pipeline.training.training_state import PausedTraining, Progress, TrainingResult

AHEAD = 4  # steps between the prefetch of a batch's targets and their use


class Check(Protocol):
    """A check that runs beside a training and may find that the training must not count."""

    def poll(self) -> None:
        """Raise what was found so far, if anything."""
        ...

    def wait(self) -> None:
        """Return when everything has been checked; raise what was found."""
        ...


class Training:
    """One training of `learner` on `split`, evaluated on `dev` (None: without evaluation the last weights are kept).

    An objective that reads no targets is trained on the examples with labels alone.
    """

    def __init__(
        self,
        learner: EncoderLearner,
        split: Split,
        targets: TargetSource,
        dev: Split | None,
        metrics: TaskMetrics,
        config: TrainingConfig,
        accelerator: Any,
        run: RunDirectory,
        description: str,
        check: Check | None = None,
        watch: Callable[[Progress], None] | None = None,
    ):
        objective = learner.objective
        limits = config.data_seed, config.max_train_examples
        examples = draw_training_set(split, objective.kind, *limits, labelled_only=not objective.columns)
        schedule = Schedule.of_training(config, examples)
        member = PackMember(learner, schedule, config, run, metrics)
        watch_all = (lambda _place, progress: watch(progress)) if watch else None
        self.pack = PackTraining({0: member}, examples, targets, dev, accelerator, description, check, watch_all)

    def train(self, until: int | None = None) -> TrainingResult | PausedTraining:
        """Train to the end; or, where that is less, to step `until`, with a checkpoint and an evaluation there.

        Raises `TrainingDiverged` for a loss that is not finite, `Interrupted` after a signal.
        """
        [(_, outcome)] = self.pack.train(until)
        if isinstance(outcome, DistillError):
            raise outcome
        return outcome


class PackTraining:
    """The training of `members` on the same batches of `examples`, as one model wherever they are at the same step.

    Those that are behind train first, until they reach the next ones. A member leaves when it is finished, when its
    early stop fires, or when it fails; the others go on without it. The keys of `members` are their places, any
    numbers. Raises `BadOption` for members that would not read the same batches, or be evaluated at the same steps.
    """

    def __init__(
        self,
        members: Mapping[int, PackMember],
        examples: TrainingSet,
        targets: TargetSource,
        dev: Split | None,
        accelerator: Any,
        description: str,
        check: Check | None = None,
        watch: Callable[[int, Progress], None] | None = None,
    ):
        schedules = [(member, member.schedule) for member in members.values()]
        check_alike([{**m.shared_options, EXAMPLES: len(s.order.ids), STEPS: s.total} for m, s in schedules])
        self.going = dict(members)  # those that have not left
        self.examples, self.targets, self.dev = examples, targets, dev
        self.accelerator, self.description, self.check, self.watch = accelerator, description, check, watch
        first = next(iter(members.values()))
        self.schedule, self.config = first.schedule, first.config
        self.order, self.total = self.schedule.order, self.schedule.total
        self.steps_per_epoch = self.schedule.steps_per_epoch
        self.checkpoint_seconds = min(member.config.checkpoint_seconds for member in members.values())
        self.active: list[PackMember] = []  # those that train now, as `pack`
        self.pending: list[tuple[int, list[Tensor]]] = []  # steps whose values are still on the device

    def train(self, until: int | None = None) -> Iterator[tuple[int, MemberResult]]:
        """Train to the end, or to step `until` where that is less; yield each member's place and result when it leaves.

        What concerns all, as a damaged cache or a signal, is the result of every remaining member.
        """
        stop_at = self.total if until is None else min(until, self.total)
        self._restore()
        step = min(member.state.step for member in self.going.values())
        done, total = self._examples_before(step), self._examples_before(self.total)
        show_bar = self.accelerator.is_main_process and self.watch is None
        progress = bar(total, self.description, "ex", done, show=show_bar)
        self.checkpoint_due = time.monotonic() + self.checkpoint_seconds
        with stop_requests() as stop, progress:
            yield from self._leaving()
            while self.going:
                try:
                    self._advance(stop_at, stop, progress)
                except DistillError as error:
                    for member in self.going.values():
                        member.outcome = member.outcome or error
                yield from self._leaving()

    def _leaving(self) -> Iterator[tuple[int, MemberResult]]:
        for place, member in [*self.going.items()]:
            if member.outcome is not None:
                del self.going[place]
                yield place, member.outcome

    def _advance(self, stop_at: int, stop: StopRequest, progress: Any) -> None:
        """Take one step with those that are furthest behind, and do what is due after it."""
        self._form_pack()
        if self.active[0].state.step < stop_at:
            self._step(progress)
            self._evaluate_if_due()
            self._report()
            self._save_if_due(stop)
        if self._training() and self.active[0].state.step >= stop_at:
            self._pause()

    def _form_pack(self) -> None:
        step = min(member.state.step for member in self.going.values())
        active = [member for member in self.going.values() if member.state.step == step]
        if active != self.active:
            self._flush()
            self.active, self.pack = active, PackLearner([member.learner for member in active])

    def _training(self) -> list[PackMember]:
        """Return the active ones that are to go on."""
        return [member for member in self.active if member.outcome is None]

    def _step(self, progress: Any) -> None:
        started = time.monotonic()
        if self.check:
            self.check.poll()
        step = self.active[0].state.step
        self.pending.append((step, self.pack.step(self._parts(step), step, self.total)))
        for member in self.active:
            member.state.step = step + 1
        if any((step + 1) % member.config.log_every == 0 for member in self.active):
            progress.set_postfix(loss=f"{self._flush():.4f}", refresh=False)
        examples, seconds = sum(len(ids) for ids in self._batches(step)), time.monotonic() - started
        for member in self.active:
            member.examples += examples
            member.seconds += seconds
        progress.update(examples)

    def _batches(self, step: int) -> list[np.ndarray]:
        """Return the batches of an optimizer step; the last of an epoch may have fewer than --grad-accumulation."""
        epoch, index = divmod(step, self.steps_per_epoch)
        first = index * self.config.grad_accumulation
        return self.order.epoch(epoch)[first : first + self.config.grad_accumulation]

    def _examples_before(self, step: int) -> int:
        return self.schedule.examples_before(step, self.config.grad_accumulation)

    def _parts(self, step: int) -> list[Part]:
        """Return this process's share of each batch of a step, with its targets and labelled examples."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        batches = self._batches(step)
        if step + AHEAD < self.total:
            for ids in self._batches(step + AHEAD):
                self.targets.prefetch(ids, self.pack.columns)
        examples = sum(len(ids) for ids in batches)
        labels = sum(int(self.examples.has_label[ids].sum()) for ids in batches)
        parts = []
        for ids in batches:
            share = ids[rank::world]
            # A process without a share still takes part in the exchange of gradients, with weight 0.
            batch = collate(self.examples.split, share if len(share) else ids[:1], self.pack.pad_id)
            batch, weight = batch.to(self.accelerator.device), len(share) / examples
            has_label = self.examples.has_label[batch.rows.ids]
            labelled = LabelledExamples.of_batch(has_label, labels, weight, self.accelerator.device)
            targets = self.targets.for_batch(batch, self.pack.columns)
            parts.append(Part(batch, targets, weight, labelled))
        return parts

    def _flush(self) -> float:
        """Fetch the values of the steps since the last flush in one copy, check and log them.

        Returns the last loss, the mean of the members.
        """
        if not self.pending:
            return math.nan
        steps, by_step = zip(*self.pending, strict=True)
        self.pending = []
        widths = [len(member.learner.names) for member in self.active]
        values = torch.stack([torch.cat(members) for members in by_step])
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, "sum")
        losses = []
        for member, rows in zip(self.active, values.cpu().split(widths, dim=1), strict=True):
            records = [dict(zip(member.learner.names, row, strict=True)) for row in rows.tolist()]
            losses.append(records[-1][LOSS])
            try:
                member.record(steps, records)
            except TrainingDiverged as error:
                member.outcome = error
        return statistics.fmean(losses)

    # --- after a step ----------------------------------------------------------------------------

    def _evaluate_if_due(self) -> None:
        """Evaluate all on the dev split; those that are finished get the weights that they keep."""
        step = self.active[0].state.step
        if step != self.total and step % (self.config.eval_every or self.steps_per_epoch):
            return
        self._flush()
        stopped: list[PackMember] = []
        if self.dev is not None and self._training():
            for member, logits in zip(self.active, self.pack.predict(self.dev), strict=True):
                if member.outcome is None and member.evaluate(logits, self.dev):
                    stopped.append(member)
        for member in self._training() if step == self.total else stopped:
            member.outcome = member.finish(member in stopped)

    def _report(self) -> None:
        if self.watch is None:
            return
        for place, member in self.going.items():
            if member in self.active and not isinstance(member.outcome, DistillError):
                at = member.state
                self.watch(place, Progress(at.step, self.total, member.examples, member.seconds, at.last))

    def _save_if_due(self, stop: StopRequest) -> None:
        stopping, saving = self._agree(bool(stop.number), time.monotonic() >= self.checkpoint_due)
        if not stopping and not saving:
            return
        self._save()
        self.checkpoint_due = time.monotonic() + self.checkpoint_seconds
        if stopping:
            for member in self.going.values():
                member.outcome = member.outcome or member.interrupted(stop.number or 15)

    def _agree(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Return what any process wants: all do it."""
        if self.accelerator.num_processes == 1:
            return stop, save
        flags = self.accelerator.reduce(torch.tensor([stop, save], device=self.accelerator.device).float(), "sum")
        return bool(flags[0]), bool(flags[1])

    def _pause(self) -> None:
        """Pause here. Raises `BadOption` without a dev split: a paused training is compared by its evaluation."""
        if self.dev is None:
            raise BadOption("a training without a labelled dev split cannot be compared on the way")
        self._flush()
        if any(not member.evaluated for member in self._training()):
            for member, logits in zip(self.active, self.pack.predict(self.dev), strict=True):
                if member.outcome is None and not member.evaluated:
                    member.evaluate_on_the_way(logits, self.dev)
        self._save()
        for member in self._training():
            member.outcome = member.pause()

    # --- checkpoints -----------------------------------------------------------------------------------------

    def _save(self) -> None:
        if not self._training():
            return
        if self.check:
            self.check.wait()  # a checkpoint outlives what it was computed from
        self._flush()
        for member in self._training():
            try:
                member.save()
            except BadRun as error:
                member.outcome = error

    def _restore(self) -> None:
        for member in self.going.values():
            if member.outcome is not None:  # its directory belongs to another process
                continue
            try:
                member.restore()
            except (BadRun, BadTracker) as error:
                member.outcome = error
        for step in sorted({member.state.step for member in self.going.values()} - {0}):
            if self.accelerator.is_main_process:
                note(f"going on from step {step} of {self.total}")
