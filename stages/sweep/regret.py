"""What a cheaper search loses against the whole grid: choose on one half of the dev split, measure on the other.

For each resample the dev examples are halved at random. A search's winner is, of the trials that it finished, the best
on the first half; its regret is how much less it scores on the second half than the grid's winner, chosen likewise.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.cache.open import open_cache
from pipeline.config.options import command_line, option_name
from pipeline.config.sweep import SweepRegretConfig
from pipeline.data.metrics import measure
from pipeline.errors import BadOption, BadRun
from pipeline.system.files import write_json
from pipeline.system.formatting import printable, table
from pipeline.system.progress import bar, note
from pipeline.training.provenance import environment
from pipeline.training.run_directory import read_predictions
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import FINISHED, SweepRecord, TrialRecord

LOW, HIGH = 5, 95  # percentiles
DEFAULT = "train-student's defaults"
SEARCHED = ("method", "temperature", "alpha", "lr", "beta")


@dataclass(frozen=True)
class Regret:
    """In units of the metric, over the resamples; `examples` is the share of the grid's that the search trained on."""

    median: float
    low: float
    high: float
    examples: float | None


@dataclass(frozen=True)
class RegretResult:
    command: str
    grid: str
    metric: str
    dev_examples: int
    resamples: int
    regret: dict[str, Regret]
    out: str | None


def run(config: SweepRegretConfig) -> RegretResult:
    """Print the regret of each search, and write it to --out. Raises a `DistillError` for sweeps that are not finished,
    or not of the same cache and metric.
    """
    grid = _finished(config.grid)
    if grid.strategy != "grid":
        raise BadOption(f"{config.grid} is a sweep by {grid.strategy}. Name one that tried all: --strategy grid")
    names = [name.strip() for name in config.against.split(",")] if config.against else []
    others = {name: _finished(name) for name in names}
    for name, other in others.items():
        if set(other.caches.values()) != set(grid.caches.values()) or other.metric != grid.metric:
            raise BadOption(f"{name} is a sweep of another cache than {config.grid}. Compare sweeps of one cache")
    location, *more = grid.caches
    if more:
        raise BadOption(f"{config.grid} is a sweep of several caches, whose dev examples differ. Take one of one cache")
    split = _judge(grid)
    labels = open_cache(location).splits[split].labels
    logits = {trial.out: _logits(trial, split) for record in (grid, *others.values()) for trial in _done(record)}
    scores = halves(logits, labels, grid.metric, config.resamples, config.seed)
    best = winners(scores, [trial.out for trial in _done(grid)])
    budget = sum(trial.examples for trial in grid.trials)
    regret = {}
    for name, other in others.items():
        if reused := sum(trial.reused for trial in other.trials):
            note(f"{name} found {reused} trials complete: it compared them at no rung, and they cost it nothing")
        lost = best - winners(scores, [trial.out for trial in _done(other)])
        regret[name] = _regret(lost, sum(trial.examples for trial in other.trials) / budget if budget else None)
    if (default := _default(grid)) is not None:
        regret[DEFAULT] = _regret(best - winners(scores, [default.out]), default.examples / budget if budget else None)
    print(_text(grid.metric, regret))
    result = RegretResult("sweep regret", config.grid, grid.metric, len(labels), config.resamples, regret, config.out)
    if config.out:
        record = {"command": command_line("sweep regret", config), "metric": grid.metric, "dev_examples": len(labels)}
        told = {name: vars(found) for name, found in regret.items()}
        write_json(Path(config.out), record | {"regret": told, "environment": environment()})
        note(f"see {config.out}")
    return result


def halves(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, metric: str, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Run -> [resamples, 2]: its score on each half of the examples, halved at random anew each time."""
    draw = np.random.default_rng(seed)
    scores = {out: np.empty((resamples, 2)) for out in logits}
    with bar(resamples, "resample", "half") as progress:
        for number in range(resamples):
            order = draw.permutation(len(labels))
            for half, ids in enumerate(np.array_split(order, 2)):
                for out, values in logits.items():
                    scores[out][number, half] = measure((metric,), values[ids], labels[ids])[metric]
            progress.update()
    return scores


def winners(scores: Mapping[str, np.ndarray], runs: Sequence[str]) -> np.ndarray:
    """[resamples]: the score on the second half of the run that is best on the first; of equals, the first run."""
    stacked = np.stack([scores[out] for out in runs])  # [runs, resamples, 2]
    chosen = stacked[:, :, 0].argmax(0)
    return stacked[chosen, np.arange(stacked.shape[1]), 1]


def _regret(lost: np.ndarray, examples: float | None) -> Regret:
    low, median, high = (float(value) for value in np.percentile(lost, (LOW, 50, HIGH)))
    return Regret(median, low, high, examples)


def _finished(name: str) -> SweepRecord:
    record = SweepDirectory(Path(name)).read()
    if not record.finished or not _done(record):
        raise BadRun(f"{name} is not finished. Give its command again: {printable(record.command)}")
    first = _done(record)[0].out
    if not Path(first).is_dir():
        raise BadRun(f"{name} ran in another directory: its run {first} is not in this one. Go there first")
    return record


def _done(record: SweepRecord) -> list[TrialRecord]:
    return [trial for trial in record.trials if trial.state == FINISHED]


def _judge(record: SweepRecord) -> str:
    """The dev split of which the metric is known first: the one that trials were judged on."""
    return next(iter(_done(record)[0].metrics))


def _logits(trial: TrialRecord, split: str) -> np.ndarray:
    found = read_predictions(Path(trial.out))
    if split not in found:
        raise BadRun(f"{trial.out} has no predictions on {split}. Train the run again")
    return found[split]


def _default(grid: SweepRecord) -> TrialRecord | None:
    """The trial of the grid whose line names none of the searched options: they are train-student's defaults."""
    searched = {option_name(name) for name in SEARCHED}
    return next((trial for trial in _done(grid) if not searched & set(shlex.split(trial.command))), None)


def _text(metric: str, regret: Mapping[str, Regret]) -> str:
    rows = [
        [
            name,
            f"{100 * found.median:.2f}",
            f"{100 * found.low:.2f} – {100 * found.high:.2f}",
            "–" if found.examples is None else f"{found.examples:.1%}",
        ]
        for name, found in regret.items()
    ]
    return table(["search", f"regret, points of {metric}", "90 % interval", "examples trained"], rows)
