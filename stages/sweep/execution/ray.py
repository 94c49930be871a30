"""The Ray engine: trials run as tasks of a Ray cluster. The search decides what to try, Ray decides where.

The work of a lost node continues on another one, from the checkpoints in the shared directory.
"""

import itertools
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import BadOption, BadPlace
from pipeline.models.accelerator import resolve_precision
from pipeline.system.ray_cluster import Cluster, SharedDirectory, cluster, failure, waiting
from stages.sweep.execution.local import STOP_SECONDS
from stages.sweep.execution.worker import FAILED, INTERRUPTED, Job, ProgressUpdate, TrialOutcome, work

CRASHES = 3  # of a job's process, on live nodes, after which its trials have failed
TAKE_SECONDS = 5.0


class Mailbox:
    """An actor that keeps the last update of each trial until the driver takes it."""

    def __init__(self) -> None:
        self._updates: dict[tuple[int, str], ProgressUpdate] = {}

    def post(self, number: int, update: ProgressUpdate) -> None:
        """Keep an update of attempt `number` in place of the last one of its trial."""
        self._updates[number, update.key] = update

    def take(self) -> dict[tuple[int, str], ProgressUpdate]:
        """Return the updates and remove them."""
        updates, self._updates = self._updates, {}
        return updates


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job: `number` is unique, `crashes` counts earlier attempts whose process died."""

    job: Job
    number: int
    crashes: int


class RayEngine:
    """An engine of `workers` jobs at once; 0: as many as the cluster holds at any time, and some that wait."""

    def __init__(self, nodes: Cluster, workers: int, gpus_per_trial: float):
        self._nodes, self._ray, self._workers = nodes, nodes.ray, workers
        self._devices = gpus_per_trial if nodes.device == "GPU" else 1.0
        if not self._room():
            raise BadOption(
                f"no node of the Ray cluster holds a trial, which asks for {self._devices:g} {nodes.device}. Start "
                "such a node (with an autoscaler: min_workers: 1), then run the same command again"
            )
        self._work = self._ray.remote(max_retries=0, **nodes.resources(self._devices))(_work)
        here = self._ray.get_runtime_context().get_node_id()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        beside_driver = NodeAffinitySchedulingStrategy(here, soft=True)  # not on a node that may be taken away
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": beside_driver}
        self._mailbox = self._ray.remote(**options)(Mailbox).remote()
        self._running: dict[Any, Attempt] = {}
        self._numbers = itertools.count()
        self._stopping = False
        self.slots = self._slots()

    def _room(self) -> int:
        each = self._devices
        devices = self._nodes.nodes().values()
        return sum(n * int(1 / each + 1e-9) if each < 1 else int(n // each) for n in devices)

    def _slots(self) -> int:
        room = self._room()
        return self._workers or room + waiting(room)

    def submit(self, job: Job) -> None:
        """Start a job as a task of the cluster."""
        # nodes may support bfloat16 where the driver does not: the precision is the driver's
        configs = tuple(replace(config, precision=resolve_precision(config.precision)) for config in job.configs)
        self._start(replace(job, configs=configs))

    def _start(self, job: Job, crashes: int = 0) -> None:
        attempt = Attempt(job, next(self._numbers), crashes)
        self._running[self._work.remote(self._nodes.directory, job, attempt.number, self._mailbox)] = attempt

    def events(self, seconds: float) -> list[ProgressUpdate | TrialOutcome]:
        """Return the latest progress and outcomes; wait up to `seconds` for a job to end."""
        self.slots = self._slots()
        if not self._running:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait(list(self._running), timeout=seconds)
        outcomes = [outcome for task in ended for outcome in self._ended(task)]
        return [*self._updates(), *outcomes]

    def _updates(self) -> list[ProgressUpdate]:
        """Return the updates of running attempts; those of an attempt that has ended may come late."""
        numbers = {attempt.number for attempt in self._running.values()}
        try:
            updates = self._ray.get(self._mailbox.take.remote(), timeout=TAKE_SECONDS)
        except self._ray.exceptions.RayError:
            return []
        return [update for (number, _), update in updates.items() if number in numbers]

    def _ended(self, task: Any) -> list[TrialOutcome]:
        """Return the outcomes of a task's trials, without those that are started again."""
        attempt, errors = self._running.pop(task), self._ray.exceptions
        keys = attempt.job.keys
        try:
            outcomes: list[TrialOutcome] = self._ray.get(task)
        except errors.TaskCancelledError as error:
            outcomes = [TrialOutcome(key, INTERRUPTED, error=failure(error)) for key in keys]
        except errors.NodeDiedError as error:
            outcomes = [TrialOutcome(key, INTERRUPTED, error=failure(error)) for key in keys]
        except (errors.WorkerCrashedError, errors.OutOfMemoryError):
            if attempt.crashes + 1 < CRASHES and not self._stopping:
                self._start(attempt.job, attempt.crashes + 1)
                return []
            how = f"its process was killed {attempt.crashes + 1} times, on live nodes (out of memory?)"
            return [TrialOutcome(key, FAILED, error=how, cause="process killed") for key in keys]
        except errors.RayError as error:
            return [TrialOutcome(key, FAILED, error=failure(error), cause=type(error).__name__) for key in keys]
        if self._stopping:
            return outcomes
        # the driver did not stop it: its node is being shut down, or is gone
        lost = {outcome.key for outcome in outcomes if outcome.kind == INTERRUPTED}
        if lost:
            pairs = [(key, config) for key, config in zip(keys, attempt.job.configs, strict=True) if key in lost]
            lost_keys, lost_configs = zip(*pairs, strict=True)
            self._start(replace(attempt.job, keys=lost_keys, configs=lost_configs), attempt.crashes)
        return [outcome for outcome in outcomes if outcome.key not in lost]

    def stop(self) -> list[TrialOutcome]:
        """Cancel all tasks, so that they write checkpoints, and return their outcomes."""
        self._stopping = True
        outcomes: list[TrialOutcome] = []
        tasks = list(self._running)
        running = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)[1] if tasks else []
        for task in running:
            self._ray.cancel(task)  # Ctrl-C in its process; once, since a second one is not for a checkpoint
        until = time.monotonic() + STOP_SECONDS
        while self._running and time.monotonic() < until:
            outcomes += [event for event in self.events(1.0) if isinstance(event, TrialOutcome)]
        for task in self._running:
            self._ray.cancel(task, force=True)
        return outcomes


def _work(place: SharedDirectory, job: Job, number: int, mailbox: Any) -> list[TrialOutcome]:
    """Train a job on a node."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray cancels with it, and nohup would have ignored it
    try:
        place.enter()
    except BadPlace as error:
        return [TrialOutcome(key, FAILED, error=str(error), cause="directory not shared") for key in job.keys]
    return work(job, lambda update: mailbox.post.remote(number, update))


@contextmanager
def ray_engine(address: str | None, workers: int, gpus_per_trial: float) -> Iterator[RayEngine]:
    """Yield an engine on the cluster at `address`, or on one of this machine; `workers` 0: as many trials as it holds.

    Raises `MissingExtra` without Ray, `BadOption` for a cluster that does not answer, or that has no room for a trial.
    """
    if gpus_per_trial > 1 and gpus_per_trial % 1:
        raise BadOption(f"--gpus-per-trial above 1 must be a whole number, not {gpus_per_trial:g}")
    with cluster(address) as nodes:
        yield RayEngine(nodes, workers, gpus_per_trial)
