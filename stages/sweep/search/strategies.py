"""Strategies: what a sweep tries, in which order and how far. `STRATEGIES` is their table.

A new strategy needs an entry there, its name in `pipeline/config/sweep.py`, and a file of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.config.sweep import SweepConfig
from pipeline.errors import BadOption
from stages.sweep.search.bayes import plan_bayes
from stages.sweep.search.plan import Plan, plan_listed
from stages.sweep.search.space import Space
from stages.sweep.search.trials import Trial, Trials
from stages.sweep.search.waves import REDUCTION, Strategy, Wave, ranked, rungs


def grid(trials: Sequence[Trial]) -> Strategy:
    """Run every trial to the end."""
    yield Wave(trials)


def halving(trials: Sequence[Trial]) -> Strategy:
    """Run successive halving (Jamieson and Talwalkar 2016).

    All trials train up to a first rung, the best third twice as far, and so on. The first rung comes after the warm-up
    of every trial. Trials keep the schedule of a whole training.
    """
    warmup = max(trial.config.warmup for trial in trials)
    alive = list(trials)
    for share in rungs(warmup):
        if len(alive) <= 1:
            break
        keep = -(-len(alive) // REDUCTION)
        scores = yield Wave(alive, share, keep)
        alive = ranked(alive, scores)[:keep]
    if alive:
        yield Wave(alive)


STAGED = ("temperature", "alpha", "lr")


def staged(trials: Sequence[Trial], make: Callable[[Mapping[str, Any]], Trial]) -> Callable[[], Strategy]:
    """Return the function that starts the search of the paper's authors.

    They search KD over T, alpha and the learning rate first; then, with the best of these, beta. This is done
    separately for each combination of the other options (depth, seed, cache, …). `make` makes a trial of options. FT
    and KD trials of the space are in the first stage as they are.
    """
    first: dict[str, Trial] = {}  # every KD trial, in order
    groups: dict[tuple[Any, ...], dict[str, list[Trial]]] = {}  # what else differs -> KD key -> its PKD trials
    for trial in trials:
        if not trial.recipe.method.matches_layers:
            first.setdefault(trial.key, trial)
            continue
        options = {name: getattr(trial.config, name) for name in trial.config.identity_options()}
        options |= {"cache": trial.config.cache, "method": "kd", "teacher_layers": None}
        kd = make(options)
        first.setdefault(kd.key, kd)
        aside = {n: v for n, v in trial.recipe.options.items() if n not in (*STAGED, "beta")}
        group = (trial.config.cache, *map(str, aside.values()))
        groups.setdefault(group, {}).setdefault(kd.key, []).append(trial)

    def start() -> Strategy:
        scores = yield Wave(list(first.values()))
        second: list[Trial] = []
        for by_kd in groups.values():
            best = ranked([first[key] for key in by_kd], scores)
            if best:
                second += by_kd[best[0].key]
        if second:
            yield Wave(second)

    return start


def _plan_grid(_: SweepConfig, space: Space, trials: Trials) -> Plan:
    listed = trials.distinct(space.settings())
    return plan_listed(listed, partial(grid, listed))


def _plan_halving(_: SweepConfig, space: Space, trials: Trials) -> Plan:
    listed = trials.distinct(space.settings())
    return plan_listed(listed, partial(halving, listed))


def _plan_staged(_: SweepConfig, space: Space, trials: Trials) -> Plan:
    listed = trials.distinct(space.settings())
    return plan_listed(listed, staged(listed, trials.make), methods=("kd",))


@dataclass(frozen=True, kw_only=True)
class NamedStrategy:
    """A strategy that `--strategy` names."""

    build: Callable[[SweepConfig, Space, Trials], Plan]
    lists_trials: bool = True  # before it starts; so its space has no ranges
    options: tuple[str, ...] = ()  # those of `sweep` that change what it tries


STRATEGIES: Mapping[str, NamedStrategy] = {
    "grid": NamedStrategy(build=_plan_grid),
    "staged": NamedStrategy(build=_plan_staged),
    "halving": NamedStrategy(build=_plan_halving),
    "bayes": NamedStrategy(build=plan_bayes, lists_trials=False, options=("trials", "seed")),
}


def make_plan(config: SweepConfig, space: Space, trials: Trials) -> Plan:
    """Return the plan of the strategy that `config` names. Raises `BadOption` for a space that it cannot search."""
    strategy = STRATEGIES[config.strategy]
    if strategy.lists_trials and space.ranges:
        name = next(iter(space.ranges))
        raise BadOption(f"--strategy {config.strategy} tries every value, and {name} is a range. Use --strategy bayes")
    return strategy.build(config, space, trials)
