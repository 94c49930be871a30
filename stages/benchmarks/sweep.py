"""A sweep of twelve trials against as many trainings with the teacher in the loop; and what the sweep itself costs."""

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
from stages.benchmarks.contenders.student_contenders import Setting, authors_way
from stages.benchmarks.harness.measurements import Ratio, Series
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
    """The live trainings are extrapolated from their steps."""
    shape = teacher_config(config.model)
    count = QUICK_EXAMPLES if config.quick else EXAMPLES
    lengths = token_lengths(config.lengths, count)
    tokens = token_rows(lengths, shape.vocab_size)
    setting = Setting(
        shape,
        depth_of(shape) // 2,
        [tokens[row] for row in range(count)],
        np.random.default_rng(0).integers(0, shape.num_labels, count),
        batch_size=BATCH,
        device=resolve_device(config.device),
        precision=resolve_precision("auto"),
    )
    live: list[float] = []
    whole: list[float] = []
    share: list[float] = []
    trained: list[float] = []
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        place = Path(directory)
        synthetic_cache(place / "cache", shape, lengths, layers=setting.matched)
        for number in range(1 if config.quick else min(2, config.rounds)):
            with Contender(live_steps, setting) as contender:
                examples, seconds = contender(QUICK_STEPS if config.quick else LIVE_STEPS)[LIVE]
            live.append(TRIALS * EPOCHS * count * seconds / examples)
            started = time.perf_counter()
            found = sweep(place / "cache", place / f"round-{number}")
            whole.append(time.perf_counter() - started)
            share.append(whole[-1] / found["training_seconds"] - 1)
            trained.append(found["examples_trained"])
            note(f"round {number + 1}: sweep {whole[-1]:.0f} s, live {live[-1]:.0f} s")
    ours = Series(f"{TRIALS} trials by halving", "s", tuple(whole))
    theirs = Series(f"{TRIALS} {LIVE} (extrapolated)", "s", tuple(live))
    return Report(
        (ours, theirs, Series("examples trained by the sweep", "examples", tuple(trained))),
        (
            Ratio(f"{TRIALS} live trainings / the sweep", values=_quotients(live, whole), at_least=12),
            Ratio("the sweep beside its trials / its trials", values=tuple(share), at_most=0.02),
        ),
        (
            f"{depth_of(shape)} → {setting.student_layers} layers, {shape.hidden_size} wide, {count:,} examples of "
            f"{lengths.mean():.1f} tokens in the mean, {EPOCHS:g} epochs, batch {BATCH}, random weights; the live "
            f"trainings are extrapolated from {LIVE_STEPS} measured steps each round",
        ),
    )


def _quotients(above: list[float], below: list[float]) -> tuple[float, ...]:
    return tuple(a / b for a, b in zip(above, below, strict=True))


def live_steps(setting: Setting) -> Callable[[int], Measured]:
    """Steps of the authors' way, after one that is not timed."""
    train = authors_way(setting)
    train(1)

    def run(steps: int) -> Measured:
        return {LIVE: train(steps)}

    return run


def sweep(cache: Path, place: Path) -> dict[str, Any]:
    """The result of a whole sweep, a command of its own in a directory of its own. Raises RuntimeError if it fails."""
    place.mkdir()
    (place / "space.toml").write_text(SPACE + f"epochs = {EPOCHS}\n")
    words = ["sweep", "--cache", str(cache), "--space", "space.toml", "--strategy", "halving", "--workers", "1"]
    done = subprocess.run([sys.executable, str(PROGRAM), *words], cwd=place, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the sweep failed: {done.stderr[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
