"""Benchmark `inference`: finished students against their teacher at work, and encoders of several depths."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.config.options import values_of
from pipeline.inference.random_inputs import input_form
from pipeline.models.accelerator import resolve_device
from pipeline.system.cpu import available_cores
from pipeline.system.progress import bar
from stages.benchmarks.contenders.inference_contenders import LATENCY, MEMORY, Shape, Turns
from stages.benchmarks.harness.timing import Report
from stages.benchmarks.inference_depth import measure_depths
from stages.benchmarks.inference_forms import MeasuredForm, product_contenders, write_forms
from stages.benchmarks.inference_models import LoadedModel, load_models
from stages.benchmarks.inference_results import InferenceResults

BATCHES, LENGTHS = (1, 8, 32), (32, 128)  # examples per batch, tokens of each
QUICK_BATCHES = BATCHES[:2]


def measure(config: BenchmarkConfig) -> Report:
    """Measure models in all their forms, then the depth table.

    Raises a `DistillError` for a run, a cache or a teacher that cannot be used.
    """
    device, threads = resolve_device(config.device), torch.get_num_threads()
    rounds, seconds = (min(2, config.rounds), 0.05) if config.quick else (config.rounds, 0.5)
    batches = QUICK_BATCHES if config.quick else BATCHES
    models = load_models(tuple(dict.fromkeys(values_of(config.runs))), config.teacher)
    lengths = common_lengths(models)
    turns = Turns(tuple((batch, length) for length in lengths for batch in batches), seconds, threads)
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        forms: list[MeasuredForm] = []
        left_out: dict[str, None] = {}
        for number, model in enumerate(models):
            written, missing = write_forms(model, Path(directory) / str(number), lengths, device)
            forms += written
            left_out |= dict.fromkeys(missing)
        del models
        results = take_turns(forms, turns, rounds, device)
    ends = ((batches[0], LENGTHS[-1]), (batches[-1], LENGTHS[-1]))
    depths = measure_depths(config, Turns(ends, seconds, threads), rounds, device)
    lines = depths.lines()
    return Report(
        (*results.series(), *depths.series()),
        (*results.ratios(), *depths.ratios()),
        (*notes(device, threads), *left_out, *(f"{line.sentence()}; R² {line.r_squared:.4f}" for line in lines)),
        tuple(lines),
        f"{results.text()}\n\n{depths.text()}\n",
        {"models": results.as_json(), "depths": depths.as_json(), "threads": threads, "cores": available_cores()},
    )


def common_lengths(models: Sequence[LoadedModel]) -> tuple[int, ...]:
    """Return the lengths in tokens that every model has positions for: of `LENGTHS`, else the longest that all take."""
    limit = min(input_form(model.module).max_length for model in models)
    return tuple(length for length in LENGTHS if length <= limit) or (limit,)


def take_turns(forms: Sequence[MeasuredForm], turns: Turns, rounds: int, device: str) -> InferenceResults:
    """Measure every form, in turn for each shape in every round; each is a process of its own.

    A first round, which is not counted, warms them up.
    """
    seconds: dict[tuple[str, Shape], list[float]] = {(form.name, shape): [] for form in forms for shape in turns.shapes}
    memory: dict[str, float] = {}
    best: dict[str, list[float]] = {}
    with ExitStack() as stack:
        contenders = {form.name: stack.enter_context(form.contender(turns)) for form in forms}
        by_precision = product_contenders({form.precision for form in forms}, device, turns.threads)
        products = {precision: stack.enter_context(product) for precision, product in by_precision.items()}
        steps = (rounds + 1) * (len(products) + len(contenders) * len(turns.shapes))
        progress = stack.enter_context(bar(steps, "benchmark inference", "turn"))
        for number in range(rounds + 1):
            for precision, product in products.items():
                ((work, taken),) = product(1).values()
                best.setdefault(precision, []).extend([work / taken] if number else [])
                progress.update()
            for index, shape in enumerate(turns.shapes):
                for name, contender in contenders.items():
                    measured = contender(index)
                    work, taken = measured[LATENCY]
                    seconds[name, shape] += [taken / work] if number else []
                    memory[name] = max(measured[MEMORY][0], memory.get(name, 0.0))
                    progress.update()
    return InferenceResults(forms, turns.shapes, seconds, best, {name: peak for name, peak in memory.items() if peak})


def notes(device: str, threads: int) -> tuple[str, ...]:
    """Return sentences on what was measured, for below the tables."""
    place = f"{threads} of {available_cores()} cores" if device == "cpu" else "the GPU"
    return (
        "shapes are examples × tokens, random ids of each model's vocabulary, no padding; one batch after the other "
        f"on {place}; torch as transformers loads the model",
        "peak memory is that of a process which only predicts, Python and its libraries included; weights are on disk",
        "ONNX: the last layer computes [CLS] alone, which counts as less FLOP; int8: every product in 8 bits, where an "
        "export leaves some in float32 if its model would lose too much",
        "× teacher: how many times as fast, in the median of the rounds",
        "depth: random weights, torch float32; % of the deepest; a line is a constant (the embeddings) + a slope",
    )
