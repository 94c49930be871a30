"""The cost of a cache, and the teacher passes that it saved."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cache.joined_cache import JoinedCache
from pipeline.cache.reader import Cache
from pipeline.config.methods import METHODS
from stages.report.comparison import CONTROL
from stages.report.inputs import Distillation
from stages.report.student_run import StudentRun


@dataclass(frozen=True)
class Cost:
    """The cost of a cache in seconds, and what its trainings would have cost with the teacher beside them.

    `passes` are examples that the teacher would have run on; a number that is not recorded is None.
    """

    trainings: int  # that read the teacher's targets
    passes: int
    cached: int  # examples in the cache
    cache_seconds: float | None
    rate: float | None  # examples per second of the teacher when the cache was made

    @property
    def saved_passes(self) -> int:
        """The examples that the teacher did not have to run on."""
        return self.passes - self.cached

    @property
    def live_seconds(self) -> float | None:
        """The seconds of the teacher if it had run beside every training."""
        return self.passes / self.rate if self.rate else None

    @property
    def paid_after(self) -> int | None:
        """The number of trainings, of the mean length, after which the cache had cost less than a live teacher."""
        if self.cache_seconds is None or not self.live_seconds:
            return None
        return max(1, math.ceil(self.cache_seconds * self.trainings / self.live_seconds))


def cost(distillation: Distillation) -> Cost:
    """Return what a cache cost, and what it saved in the trainings of its students."""
    manifests = [cache.manifest for cache in _caches(distillation.cache)]
    readers = [run for run in distillation.runs if reads_teacher(run)]
    seconds = [_number(manifest.made, "seconds") for manifest in manifests]
    computed = [_number(manifest.made, "computed_examples") for manifest in manifests]
    computing = [_number(manifest.made, "computing_seconds") for manifest in manifests]
    examples = [sum(split.examples for split in manifest.splits.values()) for manifest in manifests]
    rates = [a / b if a and b else None for a, b in zip(computed, computing, strict=True)]
    has_teacher = all(manifest.has_teacher for manifest in manifests)
    times = [
        # A cache that was continued after a stop: the seconds of its last call are not all of them.
        time if done == count else count / rate if rate else None
        for time, done, count, rate in zip(seconds, computed, examples, rates, strict=True)
    ]
    known = has_teacher and None not in times and None not in rates
    return Cost(
        len(readers),
        sum(run.examples_trained for run in readers),
        sum(examples),
        sum(time or 0.0 for time in times) if known else None,
        sum(computed_ or 0.0 for computed_ in computed) / sum(t or 0.0 for t in computing) if known else None,
    )


def reads_teacher(run: StudentRun) -> bool:
    """Return whether a training read what the teacher says."""
    return METHODS[run.result.method].name != CONTROL


def _caches(cache: Cache) -> Sequence[Cache]:
    return cache.caches if isinstance(cache, JoinedCache) else (cache,)


def _number(made: Mapping[str, Any], key: str) -> float | None:
    value = made.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None
