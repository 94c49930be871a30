"""A sweep as text: the leaderboard, the running trials, the failures, and a summary in one line."""

import math
from typing import Any

from pipeline.system.formatting import printable, table
from stages.sweep.search.record import FAILED, FINISHED, PAUSED, PRUNED, RUNNING, WAITING, SweepRecord, TrialRecord

UNKNOWN = "–"


def score_text(score: float | None) -> str:
    """Format a score in percent if it is from 0 to 1, else with four significant digits."""
    if score is None:
        return UNKNOWN
    return f"{score:.2%}" if 0 <= score <= 1 else f"{score:.4g}"


def value_text(value: Any) -> str:
    """Format the value of a parameter: four significant digits, lists as they are typed."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def duration_text(seconds: float) -> str:
    """Format a duration with its two largest units."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute:02} min"
    return f"{minute} min {second:02} s" if minute else f"{second} s"


def steps_text(trial: TrialRecord) -> str:
    """Format the steps done, and those of the whole training."""
    return f"{trial.steps:,}/{trial.total:,}" if trial.total else f"{trial.steps:,}"


def parameter_names(record: SweepRecord) -> tuple[str, ...]:
    """Return the names of all parameters of the trials, in the order of their first use."""
    return tuple(dict.fromkeys(name for trial in record.trials for name in trial.parameters))


def ranked(record: SweepRecord) -> list[TrialRecord]:
    """Return finished trials by score, then paused and pruned ones by the share of their steps done, and score."""
    finished = [trial for trial in record.trials if trial.state == FINISHED]
    partial = [trial for trial in record.trials if trial.state in (PAUSED, PRUNED)]
    partial.sort(key=lambda trial: (-trial.steps / max(trial.total, 1), *_by_score(trial)))
    return sorted(finished, key=_by_score) + partial


def _by_score(trial: TrialRecord) -> tuple[float, int]:
    """Return a sort key: the best score first; a missing score, or NaN, last."""
    if trial.score is None or math.isnan(trial.score):
        return math.inf, trial.number
    return -trial.score, trial.number


def _values(trial: TrialRecord, names: tuple[str, ...]) -> list[str]:
    return [value_text(trial.parameters.get(name)) for name in names]


def leaders(record: SweepRecord, count: int = 10) -> str:
    """Return the first `count` of `ranked` as a table with a column for each parameter."""
    names = parameter_names(record)
    rows = [
        [rank, trial.number, score_text(trial.score), *_values(trial, names), trial.state, steps_text(trial)]
        for rank, trial in enumerate(ranked(record)[:count], 1)
    ]
    header = ("rank", "trial", "score", *names, "state", "steps")
    return table(header, rows) if rows else "No trial has ended yet."


def running(record: SweepRecord) -> list[str]:
    """Return a line for each running trial: its parameters, last score, rate, and remaining time."""
    return [_running_line(record, trial) for trial in record.trials if trial.state == RUNNING]


def _running_line(record: SweepRecord, trial: TrialRecord) -> str:
    given = {name: value for name, value in trial.parameters.items() if value is not None}
    parameters = ", ".join(f"{name} {value_text(value)}" for name, value in given.items())
    last = trial.curve[-1][1] if trial.curve else trial.score
    remaining = _remaining_seconds(trial)
    rate = f"{trial.rate:,.1f}" if trial.rate > 0 else UNKNOWN
    parts = (
        *([parameters] if parameters else []),
        f"{record.metric} {score_text(last)}",
        f"{rate} examples/s",
        f"ETA {UNKNOWN if remaining is None else duration_text(remaining)}",
    )
    return printable(f"trial {trial.number}: {'; '.join(parts)}")


def _remaining_seconds(trial: TrialRecord) -> float | None:
    """Return the remaining time, by the examples per step so far; None if a figure is missing."""
    if not (trial.rate > 0 and trial.total and trial.steps and trial.examples):
        return None
    return max(trial.total - trial.steps, 0) * (trial.examples / trial.steps) / trial.rate


def summary(record: SweepRecord) -> str:
    """Return the counts of trials by state, examples and time. Trials that are not listed yet are waiting."""
    ahead = 0 if record.finished else max(record.planned - len(record.trials), 0)
    counts = {state: record.count(state) for state in (FINISHED, PRUNED, FAILED, RUNNING, PAUSED)}
    counts[WAITING] = record.count(WAITING) + ahead
    counts["reused"] = sum(trial.reused for trial in record.trials)
    parts = [f"{record.planned or UNKNOWN} planned"]
    parts += [f"{number} {state}" for state, number in counts.items() if number or state != PAUSED]
    examples = sum(trial.examples for trial in record.trials)
    return ", ".join([*parts, f"{examples:,} examples trained", duration_text(record.seconds)])


def failures(record: SweepRecord) -> list[str]:
    """Return a line for each failed trial: its number and its error."""
    return [
        printable(f"trial {trial.number}: {' '.join((trial.error or 'no message').split())}")
        for trial in record.trials
        if trial.state == FAILED
    ]
