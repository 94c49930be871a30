"""What a sweep says of each option: the scores of its finished trials by value, with the uncertainty of their mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pipeline.config.options import command_line
from pipeline.config.sweep import SweepCompareConfig
from pipeline.errors import BadOption, BadRun, shell_line
from pipeline.system.files import write_json
from pipeline.system.formatting import table
from pipeline.system.progress import note
from pipeline.training.provenance import environment
from stages.sweep.report.leaderboard import parameter_names, score_text, value_text
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import FINISHED, SweepRecord

LEVEL = 0.95


@dataclass(frozen=True)
class Row:
    """Scores of the finished trials with one value; the interval is Student's t for their mean, None for one trial."""

    value: str
    trials: int
    mean: float
    deviation: float | None  # of the sample
    low: float | None
    high: float | None
    best: float


@dataclass(frozen=True)
class SweepComparison:
    command: str
    sweep: str
    metric: str
    by: dict[str, list[Row]]
    out: str | None


def run(config: SweepCompareConfig) -> SweepComparison:
    """Print a table for each option, and write them to --out. Raises `BadRun`, `BadOption` for what is not there."""
    record = SweepDirectory(Path(config.sweep)).read()
    names = [name.strip() for name in config.by.split(",")] if config.by else list(parameter_names(record))
    unknown = [name for name in names if name not in parameter_names(record)]
    if unknown:
        listed = ", ".join(parameter_names(record)) or "none"
        raise BadOption(f"--by {unknown[0]}: the options that differ in {config.sweep} are {listed}")
    if not record.count(FINISHED):
        raise BadRun(f"{config.sweep} has no finished trial yet. See: {shell_line('sweep', 'status', config.sweep)}")
    by = {name: rows(record, name) for name in names}
    for name, found in by.items():
        print(_text(name, record.metric, found))
    result = SweepComparison("sweep compare", config.sweep, record.metric, by, config.out)
    if config.out:
        made = {"command": command_line("sweep compare", config), "sweep_command": record.command}
        tables = {name: [vars(row) for row in found] for name, found in by.items()}
        finished = [{**t.parameters, "score": t.score} for t in record.trials if t.state == FINISHED]
        said = {"caches": dict(record.caches), "metric": record.metric, "by": tables, "trials": finished}
        write_json(Path(config.out), made | said | {"environment": environment()})
        note(f"see {config.out}")
    return result


def rows(record: SweepRecord, name: str) -> list[Row]:
    """A row for each value, in the order in which the values were tried."""
    scores: dict[Any, list[float]] = {}
    for trial in record.trials:
        if trial.state == FINISHED and trial.score is not None:
            scores.setdefault(trial.parameters.get(name), []).append(trial.score)
    short = len({value_text(value) for value in scores}) == len(scores)
    return [row(value_text(value) if short else str(value), of_value) for value, of_value in scores.items()]


def row(value: str, scores: list[float]) -> Row:
    """Mean, standard deviation (n − 1) and interval of some scores."""
    mean, count = float(np.mean(scores)), len(scores)
    if count == 1:
        return Row(value, 1, mean, None, None, None, mean)
    deviation = float(np.std(scores, ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / count**0.5
    return Row(value, count, mean, deviation, mean - half, mean + half, max(scores))


def _text(name: str, metric: str, found: list[Row]) -> str:
    header = [name, "trials", f"mean {metric}", "deviation", f"{LEVEL:.0%} interval of the mean", "best"]
    cells: list[list[Any]] = []
    for one in found:
        between = "–" if one.low is None else f"{score_text(one.low)} – {score_text(one.high)}"
        deviation = "–" if one.deviation is None else score_text(one.deviation)
        cells.append([one.value, one.trials, score_text(one.mean), deviation, between, score_text(one.best)])
    return table(header, cells) + "\n"
