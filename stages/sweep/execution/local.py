"""Where trials run. An engine takes jobs and gives back what becomes of them; this one has processes of this machine.

The processes are kept, since importing torch takes seconds. One that dies takes its job with it, and no other.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from pipeline.system.cpu import available_cores
from pipeline.system.interrupts import SIGNALS
from stages.sweep.execution.worker import FAILED, Job, Outcome, ProgressUpdate, work

STOP_SECONDS = 30  # that a training may take to write its checkpoint when it is asked to stop


class Engine(Protocol):
    """`slots` jobs run at once. What was submitted is told of, and ends in an outcome for each of its trials."""

    slots: int

    def submit(self, job: Job) -> None: ...

    def events(self, seconds: float) -> list[ProgressUpdate | Outcome]:
        """What happened since the last call; waits so long for something to happen."""
        ...

    def stop(self) -> list[Outcome]:
        """End all jobs, with checkpoints where they can write them."""
        ...


class Worker:
    """A process that works on one job at a time."""

    def __init__(self, place: int, threads: int | None):
        self.place, self.threads = place, threads
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.place, self.threads), daemon=True)
        self.process.start()
        theirs.close()

    def submit(self, job: Job) -> None:
        """To a new process if the last one has died."""
        if self.connection.closed:
            self._start()
        self.job = job
        with contextlib.suppress(OSError):  # it has died just now, as will be seen where its word is received
            self.connection.send(job)

    def receive(self) -> list[ProgressUpdate | Outcome]:
        """What it has sent. The trials of a process that died have failed."""
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
        self.connection.close()
        self.process.kill()  # one that waits for a job has nothing to save, any other was asked to stop before
        self.process.join()


def _died(key: str, code: int | None) -> Outcome:
    how = f"by signal {-code} ({signal.Signals(-code).name})" if code is not None and code < 0 else f"with code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return Outcome(key, FAILED, error=f"its process was ended {how}{hint}", cause=f"process ended {how}")


class LocalEngine:
    """`slots` processes; on GPUs one each, in turn, on the CPU with an equal share of the cores: one alone computes
    with as many threads, so to the same bits, as train-student does.
    """

    def __init__(self, slots: int):
        threads = max(1, available_cores() // slots) if slots > 1 else None
        self.workers = [Worker(0, threads)]  # before torch is imported here, which takes as long again
        if not slots:
            from pipeline.models.accelerator import gpu_count

            slots = max(1, gpu_count())
        self.slots = slots
        self.workers += [Worker(place, threads) for place in range(1, slots)]

    def submit(self, job: Job) -> None:
        next(worker for worker in self.workers if worker.job is None).submit(job)

    def events(self, seconds: float) -> list[ProgressUpdate | Outcome]:
        by_connection = {one.connection: one for one in self.workers if not one.connection.closed}
        ready = wait(list(by_connection), seconds)
        return [event for one in ready for event in by_connection[one].receive()]  # type: ignore[index]

    def stop(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until:
            for worker in self.workers:
                if worker.job and worker.process.is_alive():
                    os.kill(worker.process.pid or 0, signal.SIGTERM)  # heard in a training, ignored before it
            outcomes += [event for event in self.events(1.0) if isinstance(event, Outcome)]
            if not any(worker.job for worker in self.workers):
                break
        return outcomes

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()


@contextmanager
def local_engine(slots: int) -> Iterator[LocalEngine]:
    """`slots` 0: one process a GPU, or one where there is none."""
    engine = LocalEngine(slots)
    try:
        yield engine
    finally:
        engine.close()


def _serve(connection: Connection, place: int, threads: int | None) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a training hears them; between trainings there is nothing to save
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    import torch
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own would be a semaphore of the system, which a killed process leaves
    from stages import train_student  # noqa: F401

    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())
    elif threads is not None:
        torch.set_num_threads(threads)
    send: Any = connection.send
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        send(work(job, send))
