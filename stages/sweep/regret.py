"""Estimate what a cheaper search loses against the grid: choose on one half of the dev split, measure on the other.

For each resample the dev examples are halved at random. A search's winner is, of the trials that it finished, the best
on the first half; its regret is how much less it scores on the second half than the winner of the grid.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.cache.open import open_caches
from pipeline.config.options import command_line, option_name
from pipeline.config.sweep import SweepRegretConfig
from pipeline.data.splits import selection_split
from pipeline.data.task_metrics import TaskMetrics
from pipeline.errors import BadOption, BadRun
from pipeline.system.files import write_json
from pipeline.system.formatting import printable, table
from pipeline.system.progress import bar, note, show
from pipeline.training.provenance import environment
from pipeline.training.run_reader import read_predictions
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import FINISHED, SweepRecord, TrialRecord

LOW, HIGH = 5, 95  # percentiles
DEFAULT = "train-student's defaults"
SEARCHED = ("method", "temperature", "alpha", "lr", "beta")


@dataclass(frozen=True)
class Regret:
    """The regret over the resamples, in units of the metric.

    `examples` is the number of examples that the search trained on, as a fraction of the grid's.
    """

    median: float
    low: float
    high: float
    examples: float | None


@dataclass(frozen=True)
class RegretResult:
    """The last line of `sweep regret`."""

    command: str
    grid: str
    metric: str
    dev_examples: int
    resamples: int
    regret: dict[str, Regret]
    out: str | None


def run(config: SweepRegretConfig) -> RegretResult:
    """Print the regret of each search, and write it to --out.

    Raises a `DistillError` for sweeps that are not finished, or not of the same cache and metric.
    """
    grid = _finished(config.grid)
    if grid.strategy != "grid":
        raise BadOption(f"{config.grid} is a sweep by {grid.strategy}. Pass one with --strategy grid")
    names = [name.strip() for name in config.against.split(",")] if config.against else []
    compared = {name: _finished(name) for name in names}
    for name, sweep in compared.items():
        if set(sweep.caches.values()) != set(grid.caches.values()) or sweep.metric != grid.metric:
            raise BadOption(f"{name} is a sweep of another cache than {config.grid}. Compare sweeps of one cache")
    if len(grid.caches) > 1:
        raise BadOption(
            f"{config.grid} is a sweep of several caches, whose dev examples differ. Pass a sweep of one cache"
        )
    cache = open_caches(_locations(_done(grid)[0]))
    split = selection_split(cache.splits)
    assert split is not None  # else the grid could not have compared its trials
    metrics, labels = cache.manifest.task_metrics.judged_by(grid.metric), cache.splits[split].labels
    logits = {trial.out: _logits(trial, split) for record in (grid, *compared.values()) for trial in _done(record)}
    scores = halves(metrics, logits, labels, config.resamples, config.seed)
    best = winners(scores, [trial.out for trial in _done(grid)])
    budget = sum(trial.examples for trial in grid.trials)
    regret = {}
    for name, sweep in compared.items():
        if reused := sum(trial.reused for trial in sweep.trials):
            note(f"{name} found {reused} trials complete: it did not compare them at rungs, and they cost nothing")
        lost = best - winners(scores, [trial.out for trial in _done(sweep)])
        regret[name] = _regret(lost, sum(trial.examples for trial in sweep.trials) / budget if budget else None)
    if (default := _default(grid)) is not None:
        regret[DEFAULT] = _regret(best - winners(scores, [default.out]), default.examples / budget if budget else None)
    show(_text(grid.metric, regret))
    result = RegretResult("sweep regret", config.grid, grid.metric, len(labels), config.resamples, regret, config.out)
    if config.out:
        record = {"command": command_line("sweep regret", config), "metric": grid.metric, "dev_examples": len(labels)}
        regrets = {name: vars(value) for name, value in regret.items()}
        write_json(Path(config.out), record | {"regret": regrets, "environment": environment()})
        note(f"see {config.out}")
    return result


def halves(
    metrics: TaskMetrics,
    stored: Mapping[str, np.ndarray],
    labels: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return {run: float64 [resamples, 2]}: its score on each of two random halves of the examples, per resample.

    `stored` has the predictions of each run on all examples, from which it took its threshold.
    """
    draw = np.random.default_rng(seed)
    logits = {out: metrics.kind.from_stored(values) for out, values in stored.items()}
    tuned = {out: metrics.tuned(values, labels) for out, values in logits.items()}
    scores = {out: np.empty((resamples, 2)) for out in logits}
    with bar(resamples, "resample", "half") as progress:
        for number in range(resamples):
            order = draw.permutation(len(labels))
            for half, ids in enumerate(np.array_split(order, 2)):
                for out, values in logits.items():
                    scores[out][number, half] = tuned[out].score(values[ids], labels[ids])
            progress.update()
    return scores


def winners(scores: Mapping[str, np.ndarray], runs: Sequence[str]) -> np.ndarray:
    """Return [resamples]: the score on the second half of the run that is best on the first; of equals, the first."""
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


def _logits(trial: TrialRecord, split: str) -> np.ndarray:
    predictions = read_predictions(Path(trial.out))
    if split not in predictions:
        raise BadRun(f"{trial.out} has no predictions on {split}. Train the run again")
    return predictions[split]


def _locations(trial: TrialRecord) -> tuple[str, ...]:
    """Return the caches that a trial's line names."""
    words = shlex.split(trial.command)
    return tuple(value for option, value in pairwise(words) if option == option_name("cache"))


def _default(grid: SweepRecord) -> TrialRecord | None:
    """Return the grid's trial with train-student's defaults: its line names none of the searched options."""
    searched = {option_name(name) for name in SEARCHED}
    return next((trial for trial in _done(grid) if not searched & set(shlex.split(trial.command))), None)


def _text(metric: str, regret: Mapping[str, Regret]) -> str:
    rows = [
        [
            name,
            f"{100 * value.median:.2f}",
            f"{100 * value.low:.2f} – {100 * value.high:.2f}",
            "–" if value.examples is None else f"{value.examples:.1%}",
        ]
        for name, value in regret.items()
    ]
    return table(["search", f"regret, points of {metric}", "90 % interval", "examples trained"], rows)
