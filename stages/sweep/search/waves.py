"""Waves of trials, of which a strategy consists, and the rungs at which they are compared.

A strategy is a generator: it yields a wave of trials that may run at once, is sent their scores, and yields the next
wave. A trial that the next wave does not contain is pruned.

The score of a trial is its task's first metric on the first labelled dev split; higher is better. Equal scores are
ranked by the order in which the trials were named, so repeating a search gives the same result.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from stages.sweep.search.trials import Trial

REDUCTION = 3  # each rung keeps a third,
GROWTH = 2  # and the next one comes after twice as many steps
LAST_RUNG = 4 / 9  # so that rungs at 1/9, 2/9 and 4/9 precede the end: after a warm-up of a tenth


@dataclass(frozen=True)
class Wave:
    """Trials that may run at once.

    `share`: the fraction of a whole training after which all stop to be compared; 1 is the end. `keep`: how many
    continue from there, None if that is not known yet.
    """

    trials: Sequence[Trial]
    share: float = 1.0
    keep: int | None = None


Scores = Mapping[str, float]  # trial key -> score; a failed trial has none
Strategy = Generator[Wave, Scores, None]


def ranked(trials: Sequence[Trial], scores: Scores) -> list[Trial]:
    """Return the trials that have a score, the best first."""
    scored = [trial for trial in trials if trial.key in scores]
    return sorted(scored, key=lambda trial: -scores[trial.key])  # sorted() keeps the order of equals


def rungs(warmup: float) -> list[float]:
    """Return the fractions of a training at which trials are compared, rising: 4/9 and its halves after the warm-up."""
    shares = [share for k in range(3) if (share := LAST_RUNG / GROWTH**k) > warmup]
    return shares[::-1] or ([(1 + warmup) / 2] if warmup < 1 else [])


def dry_run(strategy: Strategy) -> dict[str, tuple[Trial, float]]:
    """Dry-run a strategy, assuming that the longest trials always win.

    Return {key: (trial, fraction of its training)}: an upper bound on the cost.
    """
    tried: dict[str, tuple[Trial, float]] = {}
    wave = next(strategy, None)
    while wave is not None:
        tried |= {trial.key: (trial, wave.share) for trial in wave.trials}
        try:
            wave = strategy.send({key: float(trial.total) for key, (trial, _) in tried.items()})
        except StopIteration:
            wave = None
    return tried
