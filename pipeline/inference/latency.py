"""Seconds that a model takes for one batch: calls after a warm-up, their median and their spread."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.inference.random_inputs import input_form, random_inputs

FEWEST = 3  # calls that are timed, however slow they are


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call: the median of `calls`, the fastest and the slowest of them."""

    median: float
    low: float
    high: float
    calls: int


def measure_latency(
    run_once: Callable[[], object],
    *,
    warmup: int = 3,
    calls: int = 20,
    seconds: float = 5.0,
    fewest: int = FEWEST,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Time calls of `run_once` after `warmup` others: `calls` of them, or as many as fit into `seconds`.

    At least `fewest` are timed. `clock` returns seconds; for a GPU it has to wait for the queued work first.
    """
    for _ in range(warmup):
        run_once()
    taken: list[float] = []
    started = clock()
    while len(taken) < fewest or (len(taken) < calls and clock() - started < seconds):
        before = clock()
        run_once()
        taken.append(1000 * (clock() - before))
    return Latency(statistics.median(taken), min(taken), max(taken), len(taken))


def single_example_latency(model: Any, length: int, *, calls: int = 20, seconds: float = 5.0) -> Latency:
    """Time a model on one example of `length` random tokens at most, as it stands: on its device, in its precision.

    A length beyond the positions of the model is cut to them. An example is one row, or one question with its choices.
    """
    import torch

    from pipeline.models.accelerator import synchronized_clock
    from pipeline.models.probe import evaluation

    device, form = next(model.parameters()).device, input_form(model)
    inputs = {
        name: torch.from_numpy(array).to(device)
        for name, array in random_inputs(form, 1, min(length, form.max_length)).items()
    }
    with evaluation(model), torch.inference_mode():
        return measure_latency(
            lambda: model(**inputs), calls=calls, seconds=seconds, clock=lambda: synchronized_clock(device.type)
        )
