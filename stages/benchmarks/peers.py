"""Benchmark `peers`: a student from the cache against Trainer and TextBrewer, which run the teacher live."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.benchmark import BenchmarkConfig
from stages.benchmarks.contenders.textbrewer_distiller import textbrewer
from stages.benchmarks.contenders.transformers_trainer import trainer_live
from stages.benchmarks.harness.measurements import Series, ratio
from stages.benchmarks.harness.timing import Contender, Report, interleave
from stages.benchmarks.train import PKD, from_cache, live, notes, pace, setup_of, turn, write_cache

TRAINER = "transformers Trainer, live teacher, dynamic padding"
TEXTBREWER = "TextBrewer, live teacher, fixed padding, float32"


def measure(config: BenchmarkConfig) -> Report:
    """Time the three students. Raises `MissingExtra` if TextBrewer is not installed."""
    setup = setup_of(config)
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        contenders = {
            TEXTBREWER: Contender(live, textbrewer, TEXTBREWER, setup),
            PKD: Contender(from_cache, write_cache(Path(directory), config, setup), setup, turn(config)),
            TRAINER: Contender(live, trainer_live, TRAINER, setup),
        }
        rates = interleave(contenders, pace(config), "benchmark peers")
    series = [Series(name, "examples/s", rates[name].values) for name in (PKD, TRAINER, TEXTBREWER)]
    student, trainer, distiller = series
    return Report(
        tuple(series),
        (
            ratio("student / Trainer with a live teacher", student, trainer, at_least=2.5),
            ratio("student / TextBrewer", student, distiller, at_least=8),
        ),
        notes(config, setup),
    )
