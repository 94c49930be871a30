"""The local engine: real processes, one of which is killed."""

import os
import signal

import pytest

from pipeline.config.training import TrainStudentConfig
from stages.sweep.execution.local import local_engine
from stages.sweep.execution.worker import DONE, FAILED, Job, TrialOutcome


@pytest.mark.process
def test_process_that_dies_fails_its_job_and_a_new_one_takes_the_next(tiny, in_directory):
    config = TrainStudentConfig(cache=str(tiny.arrow), method="kd", max_steps=1, precision="float32", out="run")
    job = Job(("key",), (config,), None, "dev")
    with local_engine(1) as engine:
        (worker,) = engine.workers
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.join()
        engine.submit(job)
        events = []
        while not events:
            events = engine.events(0.5)
        assert [(event.kind, event.cause) for event in events] == [(FAILED, "process ended by signal 9 (SIGKILL)")]
        assert engine.events(0.1) == []
        engine.submit(job)  # to a new process
        while not (ended := [event for event in engine.events(0.5) if isinstance(event, TrialOutcome)]):
            pass
        assert ended[0].kind == DONE
