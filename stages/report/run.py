"""The command `report`: a page about finished students, as HTML and as markdown."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.options import values_of
from pipeline.config.report import ReportConfig
from pipeline.pages.picture import figure_style
from pipeline.system.progress import note
from stages.report.comparison import score_of
from stages.report.directory import ReportDirectory
from stages.report.facts import teacher_name
from stages.report.inputs import Inputs, read_inputs
from stages.report.page import MARKDOWN, PAGE, render
from stages.report.sections import make_report


@dataclass(frozen=True)
class ReportResult:
    """The last line of `report`. `best` is the run with the highest score, `teacher` the name of its teacher."""

    command: str
    out: str
    page: str
    markdown: str
    task: str
    runs: list[str]
    teacher: str
    teacher_score: float
    best: str
    score: float
    metric: str
    seconds: float


def run(config: ReportConfig) -> ReportResult:
    """Write the report of finished runs and sweeps. Raises a `DistillError`; then nothing is written."""
    started = time.monotonic()
    inputs = read_inputs(config)
    directory = ReportDirectory(Path(config.out or _default_out(inputs)), _key(inputs, config))
    directory.check()
    with figure_style():
        report = make_report(inputs, config)
        directory.write(render(report))
    best = max(report.comparisons, key=lambda comparison: score_of(comparison.distillation, comparison.best))
    page = directory.path / PAGE
    note(f"see {page}")
    return ReportResult(
        "report",
        str(directory.path),
        str(page),
        str(directory.path / MARKDOWN),
        inputs.task,
        [str(run.path) for run in inputs.runs],
        teacher_name(best.distillation.cache.manifest),
        best.teacher.mean,
        str(best.best.path),
        score_of(best.distillation, best.best),
        best.judge,
        round(time.monotonic() - started, 2),
    )


def _default_out(inputs: Inputs) -> Path:
    alone = len(inputs.sweeps) == 1 and not inputs.named
    return Path("reports") / (inputs.sweeps[0].name if alone else inputs.task)


def _key(inputs: Inputs, config: ReportConfig) -> dict[str, Any]:
    """Return what makes it the same report: the names of its runs and sweeps, their task and their caches."""
    identities = sorted(distillation.cache.identity for distillation in inputs.distillations)
    return {"task": inputs.task, "runs": sorted(set(values_of(config.runs))), "caches": identities}
