"""Measure finished runs again, and compare several: on their caches, on other copies of them, or on other rows."""

import time
from dataclasses import dataclass
from itertools import combinations

from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.options import values_of
from pipeline.data.calibration import Calibration
from pipeline.data.evaluation import ClassScores
from pipeline.data.intervals import RESAMPLES, Interval
from pipeline.errors import BadOption, one_line
from pipeline.inference.labelled_rows import check_options
from pipeline.inference.measured_model import open_model
from pipeline.system.cpu import require_single_process
from pipeline.system.progress import show
from pipeline.training.evaluation_text import evaluation_text
from pipeline.training.measured_run import open_run
from pipeline.training.run_evaluation import Comparison, RunEvaluation, check_comparable, compare, evaluate_run


@dataclass(frozen=True)
class EvaluateResult:
    """The result of `evaluate`: of the first run; `runs` and `paired` are of all runs and pairs, if there are several.

    See `RunEvaluation` and `Comparison`.
    """

    command: str
    out: str
    seconds: float
    metrics: dict[str, dict[str, float]]
    examples: dict[str, int]
    agreement: dict[str, float]
    kl: dict[str, float]
    intervals: dict[str, dict[str, Interval]]  # 95 %
    resamples: int  # of the examples, for each interval
    per_class: dict[str, dict[str, ClassScores]]
    calibration: dict[str, Calibration]
    runs: list[RunEvaluation]
    paired: list[Comparison]


def run(config: EvaluateConfig) -> EvaluateResult:
    """Measure every labelled split of --split, and print tables. Raises a `DistillError`."""
    result, text = measure(config)
    show(f"{text}\n")
    return result


def measure(config: EvaluateConfig) -> tuple[EvaluateResult, str]:
    """Return the result, and its tables as text. Several runs are compared before the first one predicts."""
    require_single_process("evaluate")
    started = time.monotonic()
    names = values_of(config.run)
    if repeated := [name for place, name in enumerate(names) if name in names[:place]]:
        raise BadOption(f"{one_line(repeated[0])} is named twice. Name each run once")
    check_options(config)
    opened = open_model if config.file or config.task or config.data_dir else open_run
    runs = [opened(config, name) for name in names]
    for each in runs[1:]:
        check_comparable(each, runs[0])
    outputs = [each.predict() for each in runs]
    evaluations = [evaluate_run(*pair) for pair in zip(runs, outputs, strict=True)]
    pairs = combinations(zip(runs, outputs, strict=True), 2)
    comparisons = [line for reference, later in pairs for line in compare(*later, *reference)]
    first = evaluations[0]
    result = EvaluateResult(
        "evaluate",
        first.run,
        round(time.monotonic() - started, 2),
        first.metrics,
        first.examples,
        first.agreement,
        first.kl,
        first.intervals,
        RESAMPLES,
        first.per_class,
        first.calibration,
        evaluations if len(runs) > 1 else [],
        comparisons,
    )
    return result, evaluation_text(evaluations, comparisons)
