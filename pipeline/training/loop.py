"""The one training loop, for one run or for several whose learners train as one model.

It requests the targets of each batch from a `TargetSource` and does not know whether they are cached or live.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.config.options import option_name
from pipeline.config.shared import TrainingConfig
from pipeline.data.batching import collate
from pipeline.data.splits import Split
from pipeline.distillation.targets import TargetSource
from pipeline.errors import BadOption, BadRun, DistillError, TrainingDiverged
from pipeline.system.interrupts import StopRequest, stop_requests
from pipeline.system.progress import bar, note
from pipeline.training.learner import EncoderLearner, Part
from pipeline.training.pack import PackLearner
from pipeline.training.pack_member import Outcome, PackMember, Schedule
from pipeline.training.run_directory import RunDirectory
from pipeline.training.training_state import PausedTraining, Progress, TrainingResult

AHEAD = 4  # steps between the time when a batch's targets are asked for and the time when they are used
SHARED = ("batch_size", "grad_accumulation", "data_seed", "max_train_examples", "eval_every")


class Check(Protocol):
    """Something that goes on beside a training and may find that it must not count."""

    def poll(self) -> None: ...

    def wait(self) -> None: ...


class Training:
    """One training of `learner` on `split`, judged on `dev` (None: no judge, the last weights are kept)."""

    def __init__(
        self,
        learner: EncoderLearner,
        split: Split,
        signals: TargetSource | None,
        dev: Split | None,
        metrics: Sequence[str],
        config: TrainingConfig,
        accelerator: Any,
        run: RunDirectory,
        description: str,
        check: Check | None = None,
        watch: Callable[[Progress], None] | None = None,
    ):
        schedule = Schedule.of(config, split.lengths)
        member = PackMember(learner, schedule, config, run, metrics, distils=signals is not None)
        told = (lambda _place, progress: watch(progress)) if watch else None
        self.all = PackTraining({0: member}, split, signals, dev, accelerator, description, check, told)

    def train(self, until: int | None = None) -> TrainingResult | PausedTraining:
        """To the end; or, where that is less, to step `until`, with a checkpoint and an evaluation there.

        Raises `TrainingDiverged` for a loss that is not finite, `Interrupted` after a signal.
        """
        [(_, outcome)] = self.all.train(until)
        if isinstance(outcome, DistillError):
            raise outcome
        return outcome


class PackTraining:
    """The training of `members` on the same batches of `split`, as one model wherever they stand at the same step.

    Those that are behind train first, until they are where the next ones are. A member leaves when it has come to its
    end, when its early stop fires, or when it fails; the others go on without it. `members` are known by their places,
    any numbers. Raises `BadOption` for members that would not read the same batches, or be judged at the same steps.
    """

    def __init__(
        self,
        members: Mapping[int, PackMember],
        split: Split,
        signals: TargetSource | None,
        dev: Split | None,
        accelerator: Any,
        description: str,
        check: Check | None = None,
        watch: Callable[[int, Progress], None] | None = None,
    ):
        _check_alike([*members.values()])
        self.going = dict(members)  # those that have not left
        self.split, self.signals, self.dev = split, signals, dev
        self.accelerator, self.description, self.check, self.watch = accelerator, description, check, watch
        first = next(iter(members.values()))
        self.schedule, self.config = first.schedule, first.config
        self.order, self.total = self.schedule.order, self.schedule.total
        self.steps_per_epoch = self.schedule.steps_per_epoch
        self.checkpoint_seconds = min(member.config.checkpoint_seconds for member in members.values())
        self.active: list[PackMember] = []  # those that train now, as `pack`
        self.pending: list[tuple[int, list[Tensor]]] = []  # steps whose loss terms are still on the device

    def train(self, until: int | None = None) -> Iterator[tuple[int, Outcome]]:
        """To the end, or to step `until` where that is less. Yields each member's place and outcome when it leaves.

        What concerns all, as a damaged cache or a signal, is the outcome of all that are still there.
        """
        stop_at = self.total if until is None else min(until, self.total)
        self._restore()
        step = min(member.position.step for member in self.going.values())
        done, total = self._examples_before(step), self._examples_before(self.total)
        shown = self.accelerator.is_main_process and self.watch is None
        progress = bar(total, self.description, "ex", done, show=shown)
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

    def _leaving(self) -> Iterator[tuple[int, Outcome]]:
        for place, member in [*self.going.items()]:
            if member.outcome is not None:
                del self.going[place]
                yield place, member.outcome

    def _advance(self, stop_at: int, stop: StopRequest, progress: Any) -> None:
        """One step of those that are furthest behind, and what is due after it."""
        self._form_pack()
        if self.active[0].position.step < stop_at:
            self._step(progress)
            self._evaluate_if_due()
            self._tell()
            self._save_if_due(stop)
        if self._training() and self.active[0].position.step >= stop_at:
            self._pause()

    def _form_pack(self) -> None:
        step = min(member.position.step for member in self.going.values())
        active = [member for member in self.going.values() if member.position.step == step]
        if active != self.active:
            self._flush()
            self.active, self.pack = active, PackLearner([member.learner for member in active])

    def _training(self) -> list[PackMember]:
        """The active ones that are to go on."""
        return [member for member in self.active if member.outcome is None]

    def _step(self, progress: Any) -> None:
        started = time.monotonic()
        if self.check:
            self.check.poll()
        step = self.active[0].position.step
        self.pending.append((step, self.pack.step(self._parts(step), step, self.total)))
        for member in self.active:
            member.position.step = step + 1
        if any((step + 1) % member.config.log_every == 0 for member in self.active):
            progress.set_postfix(loss=f"{self._flush():.4f}", refresh=False)
        examples, seconds = sum(len(ids) for ids in self._batches(step)), time.monotonic() - started
        for member in self.active:
            member.examples += examples
            member.seconds += seconds
        progress.update(examples)

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
                self.signals.prefetch(ids, self.pack.layers)
        examples = sum(len(ids) for ids in batches)
        parts = []
        for ids in batches:
            share = ids[rank::world]
            # A process without a share still takes part in the exchange of gradients, with weight 0.
            batch = collate(self.split, share if len(share) else ids[:1], self.pack.pad_id)
            batch = batch.to(self.accelerator.device)
            targets = self.signals.for_batch(batch, self.pack.layers) if self.signals else None
            parts.append(Part(batch, targets, len(share) / examples))
        return parts

    def _flush(self) -> float:
        """Fetch the loss terms of the steps since the last flush in one copy, check and log them; the last loss, in
        the mean of the members.
        """
        if not self.pending:
            return math.nan
        steps, terms = zip(*self.pending, strict=True)
        self.pending = []
        widths = [len(own) for own in terms[0]]
        values = torch.stack([torch.cat(of_step) for of_step in terms])
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, "sum")
        of_members = [own.tolist() for own in values.cpu().split(widths, dim=1)]
        for member, rows in zip(self.active, of_members, strict=True):
            try:
                member.record(steps, rows)
            except TrainingDiverged as error:
                member.outcome = error
        return statistics.fmean(rows[-1][0] for rows in of_members)

    # --- what is due after a step ----------------------------------------------------------------------------

    def _evaluate_if_due(self) -> None:
        """Judge all on the dev split; those that are done are left with the weights that they keep."""
        step = self.active[0].position.step
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

    def _tell(self) -> None:
        if self.watch is None:
            return
        for place, member in self.going.items():
            if member in self.active and not isinstance(member.outcome, DistillError):
                at = member.position
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
        """What any process wants, all do."""
        if self.accelerator.num_processes == 1:
            return stop, save
        flags = self.accelerator.reduce(torch.tensor([stop, save], device=self.accelerator.device).float(), "sum")
        return bool(flags[0]), bool(flags[1])

    def _pause(self) -> None:
        """Without a dev split, nobody could say how far the training came: that is a `BadOption`."""
        if self.dev is None:
            raise BadOption("a training without a labelled dev split cannot be compared on the way")
        self._flush()
        if any(not member.judged for member in self._training()):
            for member, logits in zip(self.active, self.pack.predict(self.dev), strict=True):
                if member.outcome is None and not member.judged:
                    member.judge(logits, self.dev)
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
            if member.outcome is not None:  # its directory is another's
                continue
            try:
                member.restore()
            except BadRun as error:
                member.outcome = error
        for step in sorted({member.position.step for member in self.going.values()} - {0}):
            if self.accelerator.is_main_process:
                note(f"going on from step {step} of {self.total}")


def _check_alike(members: Sequence[PackMember]) -> None:
    values = {option_name(name): {getattr(member.config, name) for member in members} for name in SHARED}
    values["steps"] = {member.schedule.total for member in members}
    for name, found in values.items():
        if len(found) > 1:
            raise BadOption(
                "students of a pack read the same batches and are judged at the same steps, and these have "
                f"{name} {' and '.join(map(str, sorted(found)))}. Train them apart"
            )
