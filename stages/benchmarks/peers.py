"""A student from the cache against transformers' Trainer and TextBrewer, which keep the teacher in the loop."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.benchmark import BenchmarkConfig
from stages.benchmarks.contenders.student_contenders import textbrewer, trainer_live
from stages.benchmarks.harness.measurements import Series, ratio
from stages.benchmarks.harness.timing import Contender, Report, interleave
from stages.benchmarks.train import PKD, from_cache, live, notes, pace, setting_of, turn, write_cache

TRAINER = "transformers Trainer, live teacher, dynamic padding"
TEXTBREWER = "TextBrewer, live teacher, fixed padding, float32"


def measure(config: BenchmarkConfig) -> Report:
    """Raises `MissingExtra` where TextBrewer is not installed."""
    setting = setting_of(config)
    with TemporaryDirectory(prefix="pkd-benchmark-") as directory:
        contenders = {
            TEXTBREWER: Contender(live, textbrewer, TEXTBREWER, setting),
            PKD: Contender(from_cache, write_cache(Path(directory), config, setting), setting, turn(config)),
            TRAINER: Contender(live, trainer_live, TRAINER, setting),
        }
        found = interleave(contenders, pace(config), "benchmark peers")
    series = [Series(what, "examples/s", found[what].values) for what in (PKD, TRAINER, TEXTBREWER)]
    student, trainer, distiller = series
    return Report(
        tuple(series),
        (
            ratio("student / Trainer with a live teacher", student, trainer, at_least=2.5),
            ratio("student / TextBrewer", student, distiller, at_least=8),
        ),
        notes(config, setting),
    )
