"""Benchmark `sweep`: a sweep of twelve trials against as many live trainings, and the cost of the sweep itself."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.models.accelerator import resolve_device, resolve_precision
from pipeline.models.encoders import depth_of
from pipeline.system.progress import note
from stages.benchmarks.contenders.authors_way import authors_way
from stages.benchmarks.contenders.live_training import StudentSetup
from stages.benchmarks.harness.measurements import Ratio, Series, ratio
from stages.benchmarks.harness.synthetic import synthetic_cache, teacher_config, token_lengths, token_rows
from stages.benchmarks.harness.timing import Contender, Measured, Report

EXAMPLES, QUICK_EXAMPLES = 3000, 128
EPOCHS = 4.0
LIVE_STEPS, QUICK_STEPS = 30, 2
BATCH = 32
# Twelve points, as a user would narrow the paper's grid.
SPACE = "temperature = [5, 10, 20]\nalpha = [0.2, 0.7]\nbeta = [100, 500]\n"
TRIALS = 12
LIVE = "trainings, authors' way, teacher live"
PROGRAM = Path(__file__).parents[2] / "cli.py"


def measure(config: BenchmarkConfig) -> Report:
    """Time sweeps and live trainings in turn; the live ones are extrapolated from some steps."""
    shape = teacher_config(config.model)
    count = QUICK_EXAMPLES if config.quick else EXAMPLES
    lengths = token_lengths(config.lengths, count)
    setup = _setup(config, shape, lengths)
    live: list[float] = []
    swept: list[float] = []
    overhead: list[float] = []
    trained: list[float] = []
    with TemporaryDirectory(prefix="pkd-benchmark-") as temporary:
        directory = Path(temporary)
        synthetic_cache(directory / "cache", shape, lengths, layers=setup.matched)
        for number in range(1 if config.quick else min(2, config.rounds)):
            with Contender(live_steps, setup) as contender:
                examples, seconds = contender(QUICK_STEPS if config.quick else LIVE_STEPS)[LIVE]
            live.append(TRIALS * EPOCHS * count * seconds / examples)
            started = time.perf_counter()
            result = sweep(directory / "cache", directory / f"round-{number}")
            swept.append(time.perf_counter() - started)
            overhead.append(swept[-1] / result["training_seconds"] - 1)
            trained.append(result["examples_trained"])
            note(f"round {number + 1}: sweep {swept[-1]:.0f} s, live {live[-1]:.0f} s")
    ours = Series(f"{TRIALS} trials by halving", "s", tuple(swept))
    theirs = Series(f"{TRIALS} {LIVE} (extrapolated)", "s", tuple(live))
    return Report(
        (ours, theirs, Series("examples trained by the sweep", "examples", tuple(trained))),
        (
            ratio(f"{TRIALS} live trainings / the sweep", theirs, ours, at_least=12),
            Ratio("the sweep beside its trials / its trials", values=tuple(overhead), at_most=0.02),
        ),
        (
            f"{depth_of(shape)} → {setup.student_layers} layers, {shape.hidden_size} wide, {count:,} examples of "
            f"{lengths.mean():.1f} tokens in the mean, {EPOCHS:g} epochs, batch {BATCH}, random weights; the live "
            f"trainings are extrapolated from {LIVE_STEPS} measured steps each round",
        ),
    )


def _setup(config: BenchmarkConfig, shape: Any, lengths: np.ndarray) -> StudentSetup:
    """Return the student of half the layers and its examples of these lengths."""
    tokens = token_rows(lengths, shape.vocab_size)
    return StudentSetup(
        shape,
        depth_of(shape) // 2,
        [tokens[row] for row in range(len(lengths))],
        np.random.default_rng(0).integers(0, shape.num_labels, len(lengths)),
        batch_size=BATCH,
        device=resolve_device(config.device),
        precision=resolve_precision("auto"),
    )


def live_steps(setup: StudentSetup) -> Callable[[int], Measured]:
    """Return a turn of steps in the authors' way, after one step that is not timed."""
    train = authors_way(setup)
    train(1)

    def run(steps: int) -> Measured:
        return {LIVE: train(steps)}

    return run


def sweep(cache: Path, directory: Path) -> dict[str, Any]:
    """Run the command `sweep` in a new directory and return its result. Raises RuntimeError if it fails."""
    directory.mkdir()
    (directory / "space.toml").write_text(SPACE + f"epochs = {EPOCHS}\n")
    words = ["sweep", "--cache", str(cache), "--space", "space.toml", "--strategy", "halving", "--workers", "1"]
    done = subprocess.run([sys.executable, str(PROGRAM), *words], cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the sweep failed: {done.stderr[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
