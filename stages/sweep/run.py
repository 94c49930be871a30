"""Search for the best student: many trainings from caches, without the teacher."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from pipeline.config.sweep import SweepConfig
from pipeline.system.cpu import require_single_process
from stages.sweep.execution.local import Engine, local_engine

if TYPE_CHECKING:
    from stages.sweep.search.estimate import Estimate
    from stages.sweep.search.orchestrate import SweepResult


def run(config: SweepConfig) -> "SweepResult | Estimate":
    """Search, and write the page of the sweep.

    Trials that earlier calls, or other sweeps, have finished are not run again. Raises a `DistillError` for
    spaces, caches and directories that cannot be used, `Interrupted` after a signal.
    """
    started = time.monotonic()
    require_single_process("sweep")
    with _engine(config) as engine:
        from stages.sweep.search.orchestrate import search  # imports torch, as the first process does now

        return search(config, engine, started)


@contextmanager
def _engine(config: SweepConfig) -> Iterator[AbstractContextManager[Engine]]:
    """Yield the context that starts the engine.

    Processes of this machine are started here, a cluster once everything is checked.
    """
    if config.engine == "ray":
        from stages.sweep.execution.ray import ray_engine

        yield ray_engine(config.ray_address, config.workers, config.gpus_per_trial)
    elif config.dry_run:
        yield local_engine(config.workers)  # never entered
    else:
        with local_engine(config.workers) as engine:
            yield nullcontext(engine)
