"""Compare the values of each option: scores of finished trials, and confidence intervals of their means."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.manifest import MANIFEST
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.config.options import command_line
from pipeline.config.sweep import SweepCompareConfig
from pipeline.data.splits import selection_split
from pipeline.data.tasks import DEV, role_of
from pipeline.errors import BadOption, BadRun, one_line, shell_line
from pipeline.system.files import write_json
from pipeline.system.formatting import printable, table
from pipeline.system.progress import note, show
from pipeline.training.provenance import environment
from stages.sweep.report.leaderboard import parameter_names, score_text, value_text
from stages.sweep.report.paired import LEVEL, Difference, differences, interval
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import FINISHED, SweepRecord, TrialRecord

Scored = tuple[TrialRecord, float]


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
    """The last line of `sweep compare`; `differences` are those of --against, `teachers` the scores by cache."""

    command: str
    sweep: str
    metric: str
    by: dict[str, list[Row]]
    differences: list[Difference]
    teachers: dict[str, float]
    out: str | None


def run(config: SweepCompareConfig) -> SweepComparison:
    """Print a table for each option, and write them to --out. Raises `BadRun`, `BadOption` if there are none."""
    record = SweepDirectory(Path(config.sweep)).read()
    names = _options("--by", config.by, record, config.sweep) if config.by else list(parameter_names(record))
    if not record.count(FINISHED):
        raise BadRun(f"{config.sweep} has no finished trial yet. See: {shell_line('sweep', 'status', config.sweep)}")
    metric = config.metric or record.metric
    trials = scored(record, config.metric)
    by = {name: rows(trials, name) for name in names}
    paired = []
    if config.against is not None:
        if len(names) != 1:
            raise BadOption(f"--against {one_line(config.against)} is a value of one option: name it with --by")
        pair_by = _options("--pair-by", config.pair_by, record, config.sweep)
        paired = differences(trials, names[0], config.against, pair_by)
    for name, by_value in by.items():
        show(_text(name, metric, by_value))
    if config.against is not None:
        show(_differences_text(names[0], metric, config.against, paired))
    teachers = teachers_scores(record, metric)
    for cache, score in teachers.items():
        show(f"the teacher of {printable(cache)}: {score_text(score)}")
    result = SweepComparison("sweep compare", config.sweep, metric, by, paired, teachers, config.out)
    if config.out:
        commands = {"command": command_line("sweep compare", config), "sweep_command": record.command}
        tables = {name: [vars(row) for row in by_value] for name, by_value in by.items()}
        finished = [{**trial.parameters, "score": score} for trial, score in trials]
        content = {
            "caches": dict(record.caches),
            "teachers": teachers,
            "metric": metric,
            "by": tables,
            "trials": finished,
        }
        if config.against is not None:
            content |= {"against": config.against, "differences": [vars(row) for row in paired]}
        write_json(Path(config.out), commands | content | {"environment": environment()})
        note(f"see {config.out}")
    return result


def _options(option: str, value: str, record: SweepRecord, sweep: str) -> list[str]:
    """Return the options named in `value`. Raises `BadOption` for one that does not differ between the trials."""
    names, differing = [name.strip() for name in value.split(",")], parameter_names(record)
    if unknown := [name for name in names if name not in differing]:
        listed = ", ".join(differing) or "none"
        raise BadOption(f"{option} {one_line(unknown[0])}: the options that differ in {sweep} are {listed}")
    return names


def scored(record: SweepRecord, metric: str | None) -> list[Scored]:
    """Return the finished trials with their scores, or with another metric on their first labelled dev split.

    Raises `BadOption` for a metric that the trials do not have.
    """
    trials = [trial for trial in record.trials if trial.state == FINISHED and trial.score is not None]
    if metric is None:
        return [(trial, float(trial.score or 0.0)) for trial in trials]
    measured = []
    for trial in trials:
        values = next((values for split, values in trial.metrics.items() if role_of(split) == DEV), {})
        if metric not in values:
            raise BadOption(f"--metric {one_line(metric)}: the metrics of {trial.out} are {', '.join(values)}")
        measured.append((trial, values[metric]))
    return measured


def teachers_scores(record: SweepRecord, metric: str) -> dict[str, float]:
    """Return the score of each cache's teacher on the split of the trials' scores, for caches that are still here."""
    scores = {}
    for location, identity in record.caches.items():
        if (
            not (Path(location) / MANIFEST).is_file()
            or (manifest := read_manifest(Path(location))).identity != identity
        ):
            continue
        split = selection_split(manifest.splits)
        if split is not None and metric in manifest.teacher_metrics.get(split, {}):
            scores[location] = manifest.teacher_metrics[split][metric]
    return scores


def rows(trials: list[Scored], name: str) -> list[Row]:
    """Return a row for each value of an option, in the order in which the values were tried."""
    scores: dict[Any, list[float]] = {}
    for trial, score in trials:
        scores.setdefault(trial.parameters.get(name), []).append(score)
    short = len({value_text(value) for value in scores}) == len(scores)
    return [row(value_text(value) if short else str(value), group) for value, group in scores.items()]


def row(value: str, scores: list[float]) -> Row:
    """Return mean, standard deviation (n − 1) and confidence interval of some scores."""
    deviation = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return Row(value, len(scores), float(np.mean(scores)), deviation, *interval(scores), max(scores))


def _text(name: str, metric: str, by_value: list[Row]) -> str:
    header = [name, "trials", f"mean {metric}", "deviation", f"{LEVEL:.0%} interval of the mean", "best"]
    cells: list[list[Any]] = []
    for line in by_value:
        deviation = "–" if line.deviation is None else score_text(line.deviation)
        ends = "–" if line.low is None else f"{score_text(line.low)} – {score_text(line.high)}"
        cells.append([line.value, line.trials, score_text(line.mean), deviation, ends, score_text(line.best)])
    return table(header, cells) + "\n"


def _differences_text(name: str, metric: str, reference: str, paired: list[Difference]) -> str:
    header = [name, "pairs", f"{metric} minus {reference}'s, mean", f"{LEVEL:.0%} interval"]
    cells: list[list[Any]] = []
    for pair in paired:
        ends = "–" if pair.low is None or pair.high is None else f"{_signed(pair.low)} to {_signed(pair.high)}"
        cells.append([pair.value, pair.pairs, _signed(pair.mean), ends])
    return table(header, cells) + "\n"


def _signed(difference: float) -> str:
    return f"{difference:+.2%}" if abs(difference) <= 1 else f"{difference:+.4g}"
