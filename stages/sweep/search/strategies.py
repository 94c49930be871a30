"""What is tried next. A strategy is a generator: it yields trials that may run at once and how far each is to go, is
sent their scores, and yields the next; a trial that it does not ask for again is out.

The score of a trial is its task's first metric on the first labelled dev split; higher is better. Equal scores are
ranked by the order in which the trials were named, so a search that is repeated ends alike.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import BadOption
from stages.sweep.search.space import Space
from stages.sweep.search.trials import Trial, Trials

REDUCTION = 3  # each rung keeps a third,
GROWTH = 2  # and the next lies twice as far
LAST_RUNG = 4 / 9  # so that rungs at 1/9, 2/9 and 4/9 precede the end: behind a warm-up of a tenth


@dataclass(frozen=True)
class Wave:
    """Trials that may run at once. `share`: of a whole training, where all stop to be compared; 1 is the end.

    `keep`: how many go on from there, None if nobody knows yet.
    """

    trials: Sequence[Trial]
    share: float = 1.0
    keep: int | None = None


Scores = Mapping[str, float]  # trial key -> score; one that failed has none
Strategy = Generator[Wave, Scores, None]


def ranked(trials: Sequence[Trial], scores: Scores) -> list[Trial]:
    """Those with a score, the best first."""
    scored = [trial for trial in trials if trial.key in scores]
    return sorted(scored, key=lambda trial: -scores[trial.key])  # sorted() keeps the order of equals


def rehearsed(strategy: Strategy) -> dict[str, tuple[Trial, float]]:
    """Key -> trial, and the share of its training, of all that a strategy tries where the longest ones are best: no
    search of these trials costs more.
    """
    found: dict[str, tuple[Trial, float]] = {}
    wave = next(strategy, None)
    while wave is not None:
        found |= {trial.key: (trial, wave.share) for trial in wave.trials}
        try:
            wave = strategy.send({key: float(trial.total) for key, (trial, _) in found.items()})
        except StopIteration:
            wave = None
    return found


def grid(trials: Sequence[Trial]) -> Strategy:
    """All of them, to the end."""
    yield Wave(trials)


def halving(trials: Sequence[Trial]) -> Strategy:
    """Successive halving (Jamieson and Talwalkar 2016): all go a little way, the best third twice as far, and so on.

    The first rung lies behind the warm-up of every trial. Trials keep the schedule of a whole training.
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


def rungs(warmup: float) -> list[float]:
    """Shares of a training at which trials are compared, rising: 4/9, and halves of it that lie behind the warm-up."""
    shares = [share for k in range(3) if (share := LAST_RUNG / GROWTH**k) > warmup]
    return shares[::-1] or ([(1 + warmup) / 2] if warmup < 1 else [])


STAGED = ("temperature", "alpha", "lr")


def staged(trials: Sequence[Trial], make: Callable[[Mapping[str, Any]], Trial]) -> Strategy:
    """As the paper's authors search: KD over T, alpha and the learning rate first; then, with the best of these,
    beta. What else differs between trials (depth, seed, cache, …) is searched in each part for itself.

    `make` makes a trial of options. FT and KD trials of the space are in the first stage as they are.
    """
    first: dict[str, Trial] = {}  # every KD trial, in order
    groups: dict[tuple[Any, ...], dict[str, list[Trial]]] = {}  # what else differs -> KD key -> its PKD trials
    for trial in trials:
        if not trial.settings["method"].startswith("pkd"):
            first.setdefault(trial.key, trial)
            continue
        options = {name: getattr(trial.config, name) for name in trial.config.identity_options()}
        options |= {"cache": trial.config.cache, "method": "kd", "teacher_layers": None}
        kd = make(options)
        first.setdefault(kd.key, kd)
        aside = {n: v for n, v in trial.settings.items() if n not in (*STAGED, "beta")}
        group = (trial.config.cache, *map(str, aside.values()))
        groups.setdefault(group, {}).setdefault(kd.key, []).append(trial)
    scores = yield Wave(list(first.values()))
    second: list[Trial] = []
    for by_kd in groups.values():
        best = ranked([first[key] for key in by_kd], scores)
        if best:
            second += by_kd[best[0].key]
    if second:
        yield Wave(second)


def finite(space: Space, trials: Trials, strategy: str) -> list[Trial]:
    """All trials of a space without ranges. Raises `BadOption` where there are some."""
    if space.ranges:
        name = next(iter(space.ranges))
        raise BadOption(f"--strategy {strategy} tries every value, and {name} is a range. Use --strategy bayes")
    return trials.distinct(space.settings())
