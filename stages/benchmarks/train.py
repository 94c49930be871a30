"""Benchmark `train`: a student from the cache against fine-tuning, the authors' way, and a matrix product."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pipeline.cache.open import open_cache
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.config.methods import METHODS
from pipeline.config.shared import TrainingConfig
from pipeline.data.batching import BatchOrder, collate
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.distillation.objective import Objective, objective_of
from pipeline.distillation.targets import CachedTargets
from pipeline.models.accelerator import (
    cpu_capabilities,
    make_accelerator,
    resolve_device,
    resolve_precision,
    synchronized_clock,
)
from pipeline.models.checkpoints import build_classifier
from pipeline.models.encoders import cut_config, depth_of
from pipeline.training.learner import EncoderLearner, Part
from stages.benchmarks.contenders.authors_way import authors_way
from stages.benchmarks.contenders.live_training import StudentSetup
from stages.benchmarks.harness.measurements import Series, ratio
from stages.benchmarks.harness.synthetic import synthetic_cache, teacher_config, token_lengths, token_rows
from stages.benchmarks.harness.timing import Contender, Measured, Pace, Report, interleave

EXAMPLES = 8192
REPRESENTATIVE, FEW = 8, 4  # batches of a turn, evenly spaced by length; with --quick
PKD, FT, AUTHORS, PRODUCT = "PKD-Skip from the cache", "plain fine-tuning", "authors' way", "matrix product"
TOKENS, FLOPS = "tokens of the student", "FLOP of the student"


def measure(config: BenchmarkConfig) -> Report:
    """Time steps of the students, and the share of the machine's best matrix product that they reach."""
    setup = setup_of(config)
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        cache = write_cache(Path(directory), config, setup)
        contenders = {
            PKD: Contender(from_cache, cache, setup, turn(config)),
            AUTHORS: Contender(live, authors_way, AUTHORS, setup),
            PRODUCT: Contender(best_product, setup.device),
        }
        rates = interleave(contenders, pace(config), "benchmark train")
    series = [Series(name, "examples/s", rates[name].values) for name in (PKD, FT, AUTHORS)]
    student, plain, authors = series
    tera = [Series(name, "TFLOP/s", tuple(v / 1e12 for v in rates[name].values)) for name in (FLOPS, PRODUCT)]
    share = 0.35 if resolve_precision("auto") == "bfloat16" and has_amx() else 0.60
    if setup.device == "cuda":
        share = 0.45
    return Report(
        (*series, Series(TOKENS, "tokens/s", rates[TOKENS].values), *tera),
        (
            ratio("student / authors' way", student, authors, at_least=12),
            ratio("time of a PKD step / of a fine-tuning step", plain, student, at_most=1.03),
            ratio("FLOP/s of the student / of the best matrix product", *tera, at_least=share, goal=True),
        ),
        notes(config, setup),
    )


def notes(config: BenchmarkConfig, setup: StudentSetup) -> tuple[str, ...]:
    """Return a sentence on what was trained, for below the table."""
    depth, lengths = depth_of(setup.teacher_config), token_lengths(config.lengths, EXAMPLES)
    return (
        f"{depth} → {setup.student_layers} layers, {setup.teacher_config.hidden_size} wide, batch "
        f"{setup.batch_size}, {lengths.mean():.1f} tokens in the mean ({config.lengths}), {setup.precision}",
    )


def setup_of(config: BenchmarkConfig) -> StudentSetup:
    """Return the student and the examples that all contenders train."""
    shape = teacher_config(config.model)
    tokens = token_rows(token_lengths(config.lengths, EXAMPLES), shape.vocab_size)
    return StudentSetup(
        shape,
        depth_of(shape) // 2,
        [tokens[row] for row in range(EXAMPLES)],
        np.random.default_rng(0).integers(0, shape.num_labels, EXAMPLES),
        batch_size=8 if config.quick else 32,
        device=resolve_device(config.device),
        precision=resolve_precision("auto"),
    )


def write_cache(directory: Path, config: BenchmarkConfig, setup: StudentSetup) -> str:
    """Write a cache of such examples with the matched layers; return its directory."""
    lengths = token_lengths(config.lengths, EXAMPLES)
    synthetic_cache(directory / "cache", setup.teacher_config, lengths, layers=setup.matched)
    return str(directory / "cache")


def pace(config: BenchmarkConfig) -> Pace:
    """Return the rounds and seconds per turn."""
    return Pace(min(2, config.rounds), 2.0) if config.quick else Pace(config.rounds, 8.0)


def turn(config: BenchmarkConfig) -> int:
    """Return the number of batches in the smallest turn of a student from the cache."""
    return FEW if config.quick else REPRESENTATIVE


def has_amx() -> bool:
    """Return whether the processor multiplies bfloat16 matrices in AMX tiles."""
    return bool(cpu_capabilities().get("amx_bf16"))


# --- in the processes of the contenders --------------------------------------------------------------


def from_cache(cache: str, setup: StudentSetup, batches: int) -> Callable[[int], Measured]:
    """Train a student with PKD-Skip from the cache and by plain fine-tuning, in turn on the same batches."""
    accelerator = make_accelerator(setup.precision, setup.device)
    split = open_cache(cache).splits["train"]
    pkd = objective_of(METHODS["pkd-skip"], SINGLE_LABEL, setup.matched, "reference", vars(setup))
    learners = {
        PKD: _learner(setup, accelerator, pkd),
        FT: _learner(setup, accelerator, Objective(SINGLE_LABEL)),
    }
    targets = CachedTargets(split)
    chosen = BatchOrder(np.arange(len(split)), split.lengths, setup.batch_size, 0).representative(batches)
    steps = iter(range(10**9))

    def step(method: str, ids: np.ndarray) -> float:
        started = synchronized_clock(setup.device)
        batch = collate(split, ids, 0).to(accelerator.device)
        learner = learners[method]
        part = Part(batch, targets.for_batch(batch, learner.columns), 1.0)
        learner.step([part], next(steps) % 1000, 1000)
        return synchronized_clock(setup.device) - started

    def train(passes: int) -> Measured:
        seconds = {PKD: 0.0, FT: 0.0}
        for number in range(passes):
            for position, ids in enumerate(chosen):
                for method in (PKD, FT) if (number + position) % 2 else (FT, PKD):
                    seconds[method] += step(method, ids)
        examples = passes * sum(len(ids) for ids in chosen)
        lengths = np.concatenate([split.lengths[ids] for ids in chosen])
        flops = passes * training_flops(setup.teacher_config, setup.student_layers, lengths)
        return {
            PKD: (examples, seconds[PKD]),
            FT: (examples, seconds[FT]),
            TOKENS: (passes * int(lengths.sum()), seconds[PKD]),
            FLOPS: (flops, seconds[PKD]),
        }

    return train


def _learner(setup: StudentSetup, accelerator: Any, objective: Objective) -> EncoderLearner:
    torch.manual_seed(setup.seed)
    student = build_classifier(cut_config(setup.teacher_config, setup.student_layers))
    return EncoderLearner(student, objective, TrainingConfig(lr=setup.lr), accelerator, 0)


def training_flops(config: Any, layers: int, lengths: np.ndarray) -> float:
    """Return the FLOP of one step over examples of these lengths: 6 · parameters used · real tokens, plus attention.

    Counts what these students compute: the last layer's query, output projection and feed-forward, the pooler and the
    head for [CLS] alone; keys and values for every token.
    """
    hidden, inner, tokens, examples = config.hidden_size, config.intermediate_size, lengths.sum(), len(lengths)
    layer, keys_and_values = 4 * hidden**2 + 2 * hidden * inner, 2 * hidden**2
    products = tokens * ((layers - 1) * layer + keys_and_values)
    products += examples * (layer - keys_and_values + hidden**2 + hidden * config.num_labels)
    pairs = (layers - 1) * np.square(lengths, dtype=np.float64).sum() + tokens
    return float(6 * products + 3 * 4 * hidden * pairs)


def live(
    build: Callable[[StudentSetup], Callable[[int], tuple[int, float]]], name: str, setup: StudentSetup
) -> Callable[[int], Measured]:
    """Return a turn of a training with its teacher in the loop."""
    train = build(setup)

    def run(steps: int) -> Measured:
        return {name: train(steps)}

    return run


def best_product(device: str, precision: str = "bfloat16") -> Callable[[int], Measured]:
    """Return a turn that finds the fastest of some matrix products in a precision, in FLOP per second."""
    sizes = [2048, 4096] if device == "cpu" else [4096, 8192, 16384]
    dtype = getattr(torch, precision)
    pairs = [[torch.randn(n, n, dtype=dtype, device=device) for _ in range(2)] for n in sizes]

    def run(times: int) -> Measured:
        rates = []
        for a, b in pairs:
            for _ in range(1 + 2 * times):
                started = synchronized_clock(device)
                a @ b
                rates.append(2 * len(a) ** 3 / (synchronized_clock(device) - started))
        return {PRODUCT: (max(rates), 1.0)}

    return run
