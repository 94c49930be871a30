"""A strategy over one space, ready to start."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.sweep.search.study import Distributions, Study, categories
from stages.sweep.search.trials import Trial
from stages.sweep.search.waves import Strategy


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A strategy and its trials. It is built once per sweep; both functions start it from its first wave.

    `example` is a trial like those that the strategy runs, `repeats` how many trials each one of the rehearsal is.
    """

    example: Trial
    distributions: Distributions  # of the options that differ between trials
    rehearse: Callable[[], Strategy]  # without a study, for what the sweep costs at most
    start: Callable[[Study, int], Strategy]  # with the study, and the number of trials that run at once
    repeats: int = 1


def plan_listed(trials: Sequence[Trial], start: Callable[[], Strategy], methods: Sequence[str] = ()) -> Plan:
    """Return the plan of a strategy over listed trials; `methods` are those that it tries besides theirs."""
    return Plan(
        example=trials[0],
        distributions=categories([trial.option_values for trial in trials], methods),
        rehearse=start,
        start=lambda study, slots: start(),
    )
