"""Paired differences: each trial against the one of the same seed that has another value of an option."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pipeline.errors import BadOption, one_line
from stages.sweep.report.leaderboard import value_text
from stages.sweep.search.record import TrialRecord

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Scores of one value minus those of the reference; the interval is Student's t for the mean of the pairs."""

    value: str
    pairs: int
    mean: float
    low: float | None  # None for one pair
    high: float | None


def differences(
    trials: Sequence[tuple[TrialRecord, float]], name: str, reference: str, pair_by: Sequence[str]
) -> list[Difference]:
    """Return the paired difference of each value of option `name` to the value called `reference`.

    A pair has the same values of the options `pair_by`. Raises `BadOption` for a reference that no trial has, for two
    trials that could be in the same pair, and for values without any pair.
    """
    groups: dict[str, dict[tuple[Any, ...], float]] = {}
    for trial, score in trials:
        value, key = value_text(trial.parameters.get(name)), tuple(trial.parameters.get(option) for option in pair_by)
        group = groups.setdefault(value, {})
        if key in group:
            listed = ", ".join(f"{option} {part}" for option, part in zip(pair_by, key, strict=True))
            raise BadOption(f"two trials of {name} {value} have {one_line(listed)}: add to --pair-by what differs")
        group[key] = score
    if reference not in groups:
        raise BadOption(f"--against {one_line(reference)}: the values of {name} are {one_line(', '.join(groups))}")
    rows = []
    for value, group in groups.items():
        if value == reference:
            continue
        pairs = [score - groups[reference][key] for key, score in group.items() if key in groups[reference]]
        if not pairs:
            raise BadOption(f"no trial of {name} {value} has a partner of {reference}: choose other --pair-by options")
        rows.append(Difference(value, len(pairs), float(np.mean(pairs)), *interval(pairs)))
    return rows


def interval(scores: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the ends of the confidence interval of the mean, Student's t with n − 1 degrees; None for one score."""
    if len(scores) < 2:
        return None, None
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(scores) - 1) * np.std(scores, ddof=1) / len(scores) ** 0.5)
    mean = float(np.mean(scores))
    return mean - half, mean + half
