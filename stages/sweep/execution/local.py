"""The local engine: trials run in processes of this machine.

The processes are kept, since importing torch takes seconds. If one dies, its job fails and no other.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from pipeline.system.child_process import end_with_parent, process_context, select_gpu
from pipeline.system.cpu import available_cores
from pipeline.system.interrupts import SIGNALS
from pipeline.system.progress import is_quiet, quiet
from stages.sweep.execution.worker import FAILED, Job, ProgressUpdate, TrialOutcome, work

STOP_SECONDS = 30  # that a training may take to write its checkpoint when it is asked to stop


class Engine(Protocol):
    """Up to `slots` jobs at once. Each sends progress updates and ends in an outcome for each of its trials."""

    slots: int

    def submit(self, job: Job) -> None:
        """Start a job, or queue it."""
        ...

    def events(self, seconds: float) -> list[ProgressUpdate | TrialOutcome]:
        """Return the events since the last call; wait up to `seconds` for the first one."""
        ...

    def stop(self) -> list[TrialOutcome]:
        """End all jobs, with checkpoints if they can write them, and return their outcomes."""
        ...


class Worker:
    """A process that works on one job at a time."""

    def __init__(self, index: int, threads: int | None):
        self.index, self.threads = index, threads
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        context = process_context()
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_serve, args=(child, self.index, self.threads, is_quiet()), daemon=True)
        self.process.start()
        child.close()

    def submit(self, job: Job) -> None:
        """Send a job to the process, or to a new one if it has died."""
        if self.connection.closed:
            self._start()
        self.job = job
        with contextlib.suppress(OSError):  # it has died just now: `receive` reports that
            self.connection.send(job)

    def receive(self) -> list[ProgressUpdate | TrialOutcome]:
        """Return what the process has sent. The trials of a process that died have failed."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            failed = [_died(key, self.process.exitcode) for key in (self.job.keys if self.job else ())]
            self.job = None
            self.connection.close()
            return list(failed)
        if isinstance(message, ProgressUpdate):
            return [message]
        self.job = None
        return list(message)

    def stop(self) -> None:
        """Kill the process."""
        self.connection.close()
        self.process.kill()  # one that waits for a job has nothing to save, any other was asked to stop before
        self.process.join()


def _died(key: str, code: int | None) -> TrialOutcome:
    how = f"by signal {-code} ({signal.Signals(-code).name})" if code is not None and code < 0 else f"with code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return TrialOutcome(key, FAILED, error=f"its process was ended {how}{hint}", cause=f"process ended {how}")


class LocalEngine:
    """An engine of `slots` processes, one per GPU in turn, or with an equal share of the cores of a CPU.

    A single process computes with as many threads as train-student, so its results have the same bits.
    """

    def __init__(self, slots: int):
        threads = max(1, available_cores() // slots) if slots > 1 else None
        self.workers = [Worker(0, threads)]  # before torch is imported here, which takes as long again
        if not slots:
            from pipeline.models.accelerator import gpu_count

            slots = max(1, gpu_count())
        self.slots = slots
        self.workers += [Worker(index, threads) for index in range(1, slots)]

    def submit(self, job: Job) -> None:
        """Give a job to an idle process."""
        next(worker for worker in self.workers if worker.job is None).submit(job)

    def events(self, seconds: float) -> list[ProgressUpdate | TrialOutcome]:
        """Return what the processes have sent; wait up to `seconds` for the first of it."""
        by_connection = {worker.connection: worker for worker in self.workers if not worker.connection.closed}
        ready = wait(list(by_connection), seconds)
        return [event for connection in ready for event in by_connection[connection].receive()]

    def stop(self) -> list[TrialOutcome]:
        """Ask every training to stop with a checkpoint, and return the outcomes."""
        outcomes: list[TrialOutcome] = []
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until:
            for worker in self.workers:
                if worker.job and worker.process.is_alive():
                    os.kill(worker.process.pid or 0, signal.SIGTERM)  # handled in a training, ignored before it
            outcomes += [event for event in self.events(1.0) if isinstance(event, TrialOutcome)]
            if not any(worker.job for worker in self.workers):
                break
        return outcomes

    def close(self) -> None:
        """Kill all processes."""
        for worker in self.workers:
            worker.stop()


@contextmanager
def local_engine(slots: int) -> Iterator[LocalEngine]:
    """Yield an engine of `slots` processes; 0: one per GPU, or one if there is none."""
    engine = LocalEngine(slots)
    try:
        yield engine
    finally:
        engine.close()


def _serve(connection: Connection, index: int, threads: int | None, silent: bool) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a training handles them; between trainings there is nothing to save
    end_with_parent()
    import torch
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own would be a semaphore of the system, which a killed process leaves
    import pipeline.training.student  # noqa: F401

    if not select_gpu(index) and threads is not None:
        torch.set_num_threads(threads)
    send: Any = connection.send
    with quiet() if silent else contextlib.nullcontext():  # its environment is that of a server, started earlier
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            send(work(job, send))
