"""Compare the values of each option: scores of finished trials, and confidence intervals of their means."""

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
    """The last line of `sweep compare`."""

    command: str
    sweep: str
    metric: str
    by: dict[str, list[Row]]
    out: str | None


def run(config: SweepCompareConfig) -> SweepComparison:
    """Print a table for each option, and write them to --out. Raises `BadRun`, `BadOption` if there are none."""
    record = SweepDirectory(Path(config.sweep)).read()
    names = [name.strip() for name in config.by.split(",")] if config.by else list(parameter_names(record))
    unknown = [name for name in names if name not in parameter_names(record)]
    if unknown:
        listed = ", ".join(parameter_names(record)) or "none"
        raise BadOption(f"--by {unknown[0]}: the options that differ in {config.sweep} are {listed}")
    if not record.count(FINISHED):
        raise BadRun(f"{config.sweep} has no finished trial yet. See: {shell_line('sweep', 'status', config.sweep)}")
    by = {name: rows(record, name) for name in names}
    for name, by_value in by.items():
        print(_text(name, record.metric, by_value))
    result = SweepComparison("sweep compare", config.sweep, record.metric, by, config.out)
    if config.out:
        commands = {"command": command_line("sweep compare", config), "sweep_command": record.command}
        tables = {name: [vars(row) for row in by_value] for name, by_value in by.items()}
        finished = [{**t.parameters, "score": t.score} for t in record.trials if t.state == FINISHED]
        content = {"caches": dict(record.caches), "metric": record.metric, "by": tables, "trials": finished}
        write_json(Path(config.out), commands | content | {"environment": environment()})
        note(f"see {config.out}")
    return result


def rows(record: SweepRecord, name: str) -> list[Row]:
    """Return a row for each value of an option, in the order in which the values were tried."""
    scores: dict[Any, list[float]] = {}
    for trial in record.trials:
        if trial.state == FINISHED and trial.score is not None:
            scores.setdefault(trial.parameters.get(name), []).append(trial.score)
    short = len({value_text(value) for value in scores}) == len(scores)
    return [row(value_text(value) if short else str(value), group) for value, group in scores.items()]


def row(value: str, scores: list[float]) -> Row:
    """Return mean, standard deviation (n − 1) and confidence interval of some scores."""
    mean, count = float(np.mean(scores)), len(scores)
    if count == 1:
        return Row(value, 1, mean, None, None, None, mean)
    deviation = float(np.std(scores, ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / count**0.5
    return Row(value, count, mean, deviation, mean - half, mean + half, max(scores))


def _text(name: str, metric: str, by_value: list[Row]) -> str:
    header = [name, "trials", f"mean {metric}", "deviation", f"{LEVEL:.0%} interval of the mean", "best"]
    cells: list[list[Any]] = []
    for line in by_value:
        interval = "–" if line.low is None else f"{score_text(line.low)} – {score_text(line.high)}"
        deviation = "–" if line.deviation is None else score_text(line.deviation)
        cells.append([line.value, line.trials, score_text(line.mean), deviation, interval, score_text(line.best)])
    return table(header, cells) + "\n"
