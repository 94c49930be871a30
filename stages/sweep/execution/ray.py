"""Trials as tasks of a Ray cluster. The search decides what to try, Ray decides where.

The work of a lost node goes on elsewhere, from the checkpoints in the shared directory.
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
from stages.sweep.execution.worker import FAILED, INTERRUPTED, Job, Outcome, ProgressUpdate, work

CRASHES = 3  # of a job's process, on nodes that live, after which its trials have failed
TAKE_SECONDS = 5.0


class Mailbox:
    """An actor that keeps the last word of each trial until the driver asks."""

    def __init__(self) -> None:
        self._told: dict[tuple[int, str], ProgressUpdate] = {}

    def tell(self, number: int, told: ProgressUpdate) -> None:
        self._told[number, told.key] = told

    def take(self) -> dict[tuple[int, str], ProgressUpdate]:
        told, self._told = self._told, {}
        return told


@dataclass(frozen=True)
class Attempt:
    """A job on its way. `number` tells it from earlier attempts, `crashes` counts those that ended their process."""

    job: Job
    number: int
    crashes: int


class RayEngine:
    """`workers` jobs at once, or as many as the cluster holds as it grows and shrinks, and some that wait."""

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
        of_node = self._nodes.nodes().values()
        return sum(n * int(1 / each + 1e-9) if each < 1 else int(n // each) for n in of_node)

    def _slots(self) -> int:
        room = self._room()
        return self._workers or room + waiting(room)

    def submit(self, job: Job) -> None:
        # nodes may compute in bfloat16 where the driver does not: a trial is what the driver takes it for
        configs = tuple(replace(config, precision=resolve_precision(config.precision)) for config in job.configs)
        self._start(replace(job, configs=configs))

    def _start(self, job: Job, crashes: int = 0) -> None:
        attempt = Attempt(job, next(self._numbers), crashes)
        self._running[self._work.remote(self._nodes.directory, job, attempt.number, self._mailbox)] = attempt

    def events(self, seconds: float) -> list[ProgressUpdate | Outcome]:
        self.slots = self._slots()
        if not self._running:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait(list(self._running), timeout=seconds)
        outcomes = [outcome for task in ended for outcome in self._ended(task)]
        return [*self._told(), *outcomes]

    def _told(self) -> list[ProgressUpdate]:
        """Of attempts that run: the word of one that has ended may come late."""
        numbers = {attempt.number for attempt in self._running.values()}
        try:
            told = self._ray.get(self._mailbox.take.remote(), timeout=TAKE_SECONDS)
        except self._ray.exceptions.RayError:
            return []
        return [one for (number, _), one in told.items() if number in numbers]

    def _ended(self, task: Any) -> list[Outcome]:
        """The outcomes of its trials; none yet of those that begin again."""
        attempt, errors = self._running.pop(task), self._ray.exceptions
        keys = attempt.job.keys
        try:
            outcomes: list[Outcome] = self._ray.get(task)
        except errors.TaskCancelledError as error:
            outcomes = [Outcome(key, INTERRUPTED, error=failure(error)) for key in keys]
        except errors.NodeDiedError as error:
            outcomes = [Outcome(key, INTERRUPTED, error=failure(error)) for key in keys]
        except (errors.WorkerCrashedError, errors.OutOfMemoryError):
            if attempt.crashes + 1 < CRASHES and not self._stopping:
                self._start(attempt.job, attempt.crashes + 1)
                return []
            how = f"its process was killed {attempt.crashes + 1} times, on nodes that live (out of memory?)"
            return [Outcome(key, FAILED, error=how, cause="process killed") for key in keys]
        except errors.RayError as error:
            return [Outcome(key, FAILED, error=failure(error), cause=type(error).__name__) for key in keys]
        if self._stopping:
            return outcomes
        # nobody asked it to stop: its node is being shut down, or is gone
        lost = {outcome.key for outcome in outcomes if outcome.kind == INTERRUPTED}
        if lost:
            left = [(key, config) for key, config in zip(keys, attempt.job.configs, strict=True) if key in lost]
            again_keys, again_configs = zip(*left, strict=True)
            self._start(replace(attempt.job, keys=again_keys, configs=again_configs), attempt.crashes)
        return [outcome for outcome in outcomes if outcome.key not in lost]

    def stop(self) -> list[Outcome]:
        self._stopping = True
        outcomes: list[Outcome] = []
        tasks = list(self._running)
        going = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)[1] if tasks else []
        for task in going:
            self._ray.cancel(task)  # Ctrl-C in its process; once, since a second one is not for a checkpoint
        until = time.monotonic() + STOP_SECONDS
        while self._running and time.monotonic() < until:
            outcomes += [event for event in self.events(1.0) if isinstance(event, Outcome)]
        for task in self._running:
            self._ray.cancel(task, force=True)
        return outcomes


def _work(place: SharedDirectory, job: Job, number: int, mailbox: Any) -> list[Outcome]:
    """On a node."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which Ray cancels, and which nohup would have ignored
    try:
        place.enter()
    except BadPlace as error:
        return [Outcome(key, FAILED, error=str(error), cause="directory not shared") for key in job.keys]
    return work(job, lambda told: mailbox.tell.remote(number, told))


@contextmanager
def ray_engine(address: str | None, workers: int, gpus_per_trial: float) -> Iterator[RayEngine]:
    """On the cluster at `address`, or one of this machine; `workers` 0: as many trials at once as it holds.

    Raises `MissingExtra` without Ray, `BadOption` for a cluster that does not answer, or that holds no trial.
    """
    if gpus_per_trial > 1 and gpus_per_trial % 1:
        raise BadOption(f"--gpus-per-trial above 1 must be a whole number, not {gpus_per_trial:g}")
    with cluster(address) as nodes:
        yield RayEngine(nodes, workers, gpus_per_trial)
