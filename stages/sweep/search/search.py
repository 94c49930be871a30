"""A search: runs one wave of trials after the other on an engine and records them in a study.

A trial that the study or its run directory holds already is not run again.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import DistillError, Interrupted, TrainingDiverged
from pipeline.system.interrupts import StopRequest
from pipeline.training.run_directory import forget_checkpoint
from stages.sweep.execution import worker
from stages.sweep.execution.local import Engine
from stages.sweep.execution.worker import Job, ProgressUpdate, TrialOutcome
from stages.sweep.search.record import FAILED, FINISHED, PRUNED
from stages.sweep.search.study import Distributions, Study, state_of
from stages.sweep.search.trials import Trial
from stages.sweep.search.waves import Strategy, Wave, ranked

SAME_FAILURES = 3  # failures in a row with one cause, after which the sweep stops if there is more to try
POLL_SECONDS = 0.5
DIVERGED = TrainingDiverged.__name__
NOT_TRACKED: Mapping[str, Any] = {}
BUSY_SECONDS = 5.0  # until a trial that another process trains is looked at again


class SweepStopped(DistillError):
    """Several trials in a row failed for the same reason."""


class Search:
    """A search on an engine. `on_change` is called after each event, and at least every half second.

    `tracked` are the options of a training that send each trial to a tracker.
    """

    def __init__(
        self,
        study: Study,
        distributions: Distributions,
        engine: Engine,
        stop: StopRequest,
        on_change: Callable[["Search", str | None], None],
        retry_failed: bool = False,
        pack: int = 1,
        tracked: Mapping[str, Any] = NOT_TRACKED,
    ):
        self.study, self.distributions, self.engine, self.stop = study, distributions, engine, stop
        self.on_change, self.retry_failed, self.pack, self.tracked = on_change, retry_failed, pack, tracked
        self.live: dict[str, ProgressUpdate] = {}  # running trials, by key
        self.reused = self.teacher_forwards = self.examples = 0
        self.training_seconds = 0.0
        self._finished_before = {key for key in study.numbers if self._state(key) == FINISHED}
        self._counted: set[str] = set()
        self._causes: deque[tuple[str, str]] = deque(maxlen=SAME_FAILURES)  # (cause, error)

    def run(self, strategy: Strategy) -> None:
        """Run a strategy to its end.

        Raises `Interrupted`, `SweepStopped`, and the errors of damaged run directories.
        """
        wave = next(strategy, None)
        while wave is not None:
            scores = self._wave(wave)
            last = wave
            try:
                wave = strategy.send(scores)
            except StopIteration:
                wave = None
            continuing = {trial.key for trial in wave.trials} if wave else set()
            for trial in last.trials:
                if trial.key not in continuing and self._state(trial.key) is None:
                    self.study.end(trial.key, PRUNED)
                    forget_checkpoint(Path(trial.config.out or ""), trial.steps(last.share))

    def _wave(self, wave: Wave) -> dict[str, float]:
        """Run a wave and return the scores of its trials.

        A trial that failed, or was complete before it could be compared, has none.
        """
        scores: dict[str, float] = {}
        unsettled = [trial for trial in wave.trials if not self._is_settled(trial, wave.share, scores)]
        if not all(self._has_score(trial) for trial in unsettled):  # unlike those that go on from a rung
            self._stop_at_same_failures()
        waiting = deque((0.0, trial) for trial in unsettled)
        active: dict[str, tuple[int, Trial]] = {}  # key -> number of the job, and the trial
        jobs = itertools.count()
        while waiting or active:
            while len({job for job, _ in active.values()}) < self.engine.slots:
                if not (chosen := self._next(waiting, wave.share, scores)):
                    break
                number = next(jobs)
                for trial in chosen:
                    self._begin(trial)
                    active[trial.key] = number, trial
                    self.live[trial.key] = ProgressUpdate(trial.key, 0, trial.total, 0, 0.0, None)
                until = chosen[0].steps(wave.share) if wave.share < 1 else None
                keys = tuple(trial.key for trial in chosen)
                configs = tuple(replace(trial.config, **self.tracked) for trial in chosen)
                self.engine.submit(Job(keys, configs, until, chosen[0].selection_split))
            for event in self.engine.events(POLL_SECONDS):
                if isinstance(event, ProgressUpdate):
                    if event.key in active:  # on a cluster it may come after its outcome
                        self.live[event.key] = event
                    continue
                _, trial = active.pop(event.key)
                self._ended(trial, event, wave, scores)
                if waiting:
                    self._stop_at_same_failures()
                if event.kind in (worker.BUSY, worker.INTERRUPTED):  # by a signal to its process: it goes on
                    waiting.append((time.monotonic() + BUSY_SECONDS, trial))
            self.on_change(self, None)
            if self.stop.number:
                self._interrupt()
        return scores

    def _next(self, waiting: deque[tuple[float, Trial]], share: float, scores: dict[str, float]) -> list[Trial]:
        """Take the trials of the next job from `waiting`: the first that may start, and those packed with it."""
        chosen: list[Trial] = []
        pack_key: Any = None
        for due, trial in list(waiting):
            if due > time.monotonic() or (chosen and self.pack > 1 and trial.pack_key != pack_key):
                continue
            waiting.remove((due, trial))
            if due and self._is_settled(trial, share, scores):  # the process that trained it has finished
                continue
            chosen.append(trial)
            if len(chosen) >= self.pack:
                break
            pack_key = chosen[0].pack_key
        return chosen

    def _is_settled(self, trial: Trial, share: float, scores: dict[str, float]) -> bool:
        """Return whether a trial needs no training up to `share`; its score there, if any, is added to `scores`."""
        state = self._state(trial.key)
        if state == FAILED and self.retry_failed:
            return False
        result = trial.result() if state in (None, FINISHED) else None
        if state == FINISHED and result is None:  # the run was removed
            self.study.forget(trial.key)
            state = None
        if state == FINISHED or result is not None:
            if state is None and result is not None:  # complete, and not by this sweep
                self._begin(trial)
                reached = next(iter(result.metrics[trial.selection_split].values()))
                self.study.end(trial.key, FINISHED, reached, metrics=result.metrics, reused=True)
            if trial.key not in self._counted:
                self._counted.add(trial.key)
                self.reused += trial.key in self._finished_before or state is None
            recorded = self.study.trial(trial.key)
            assert recorded is not None
            at_rung = self.study.score_at(trial.key, share) if share < 1 else recorded.value
            if at_rung is None and not recorded.user_attrs.get("reused"):
                at_rung = recorded.value  # it stopped early, before the rung
            if at_rung is not None:
                scores[trial.key] = at_rung
            return True
        score = self.study.score_at(trial.key, share) if share < 1 else None
        if score is not None:  # also if it was pruned or failed after this rung: the choice stays as it was
            scores[trial.key] = score
        return score is not None or state == FAILED

    def _state(self, key: str) -> str | None:
        """Return how a trial ended; None if it has not, or was not started."""
        trial = self.study.trial(key)
        state = state_of(trial, running=True) if trial else None
        return state if state in (FINISHED, PRUNED, FAILED) else None

    def _begin(self, trial: Trial) -> None:
        if self._state(trial.key) is not None:  # it failed, or was pruned and is needed again
            self.study.forget(trial.key)
        self.study.begin(trial.key, trial.option_values, self.distributions, trial.as_json)

    def _ended(self, trial: Trial, outcome: TrialOutcome, wave: Wave, scores: dict[str, float]) -> None:
        self.live.pop(trial.key, None)
        self.teacher_forwards += outcome.teacher_forwards
        if self.teacher_forwards:
            raise AssertionError(f"{trial.config.out} ran the teacher, which no trial may")
        self.examples += outcome.examples
        self.training_seconds += outcome.seconds
        self.study.add_cost(trial.key, examples=outcome.examples, seconds=round(outcome.seconds, 2))
        if outcome.kind == worker.FAILED:
            self.study.end(trial.key, FAILED, error=outcome.error, cause=outcome.cause)
            if outcome.cause != DIVERGED:  # which is the setting's doing: the next one may train
                self._causes.append((outcome.cause or "", outcome.error or ""))
            self.on_change(self, f"trial {self.study.numbers[trial.key]} failed: {outcome.error}")
        if outcome.kind in (worker.DONE, worker.STOPPED):
            self._causes.clear()
            assert outcome.score is not None
            scores[trial.key] = outcome.score
            if outcome.kind == worker.STOPPED:
                self.study.record_score(trial.key, wave.share, outcome.score)
            else:
                self._counted.add(trial.key)
                self.study.end(trial.key, FINISHED, outcome.score, metrics=outcome.metrics)
            self.on_change(self, f"trial {self.study.numbers[trial.key]}: {outcome.score:.4f}, {outcome.kind}")
        if wave.keep is not None:
            for loser in ranked(wave.trials, scores)[wave.keep :]:  # whatever the others reach, these do not continue
                forget_checkpoint(Path(loser.config.out or ""), loser.steps(wave.share))

    def _has_score(self, trial: Trial) -> bool:
        recorded = self.study.trial(trial.key)
        return recorded is not None and bool(recorded.intermediate_values)

    def _stop_at_same_failures(self) -> None:
        """Raise `SweepStopped` if the last trials failed for one cause; called while there is more to try."""
        if len(self._causes) < SAME_FAILURES or len({cause for cause, _ in self._causes}) > 1:
            return
        self.engine.stop()
        raise SweepStopped(
            f"{SAME_FAILURES} trials in a row failed for the same reason ({self._causes[-1][1]}). Fix this, then run "
            "the same command with --retry-failed"
        )

    def _interrupt(self) -> None:
        number = self.stop.number
        for outcome in self.engine.stop():
            self.examples += outcome.examples
            self.study.add_cost(outcome.key, examples=outcome.examples, seconds=round(outcome.seconds, 2))
        raise Interrupted("stopped; running trials have checkpoints. Run the same command to go on", number)
