"""The cost of a cache in words: teacher passes saved, and when it had paid for itself."""

from collections.abc import Iterator

from stages.report.blocks import Block, Facts, Text
from stages.report.comparison import Comparison
from stages.report.cost import Cost, cost
from stages.report.words import count
from stages.sweep.report.leaderboard import duration_text

FORMULA = (
    "Formula: trainings until the cache has paid for itself = seconds of cache-teacher ÷ teacher seconds per training; "
    "teacher seconds per training = examples per training ÷ examples per second of the teacher in cache-teacher. A "
    "training counts if its method reads what the teacher says, so FT does not. The teacher's speed beside a training "
    "is estimated by its speed in cache-teacher, on that machine."
)


def cost_blocks(comparison: Comparison) -> Iterator[Block]:
    """Return what the cache cost and saved. What was not recorded is not estimated."""
    given = cost(comparison.distillation)
    if not given.trainings:
        yield Text("No training of this report reads what the teacher says: the cache saved nothing.")
        return
    yield Facts(tuple(_facts(given)))
    if given.cache_seconds is None:
        yield Text("The seconds of this cache are not recorded, as of targets that were made elsewhere.")
        return
    yield Text(FORMULA)


def _facts(given: Cost) -> Iterator[tuple[str, str]]:
    yield "trainings with the teacher", f"{given.trainings:,}"
    yield "examples in these trainings", f"{given.passes:,}: passes of the teacher if it had run beside each of them"
    yield "examples in the cache", f"{given.cached:,}: the teacher ran once on each"
    if given.saved_passes > 0:
        yield "teacher passes saved", f"{given.saved_passes:,} ({given.saved_passes / given.passes:.1%})"
    else:
        yield "teacher passes saved", "none yet: fewer examples were trained on than cached"
    if given.cache_seconds is None or given.rate is None or given.live_seconds is None or given.paid_after is None:
        return
    yield "seconds of cache-teacher", f"{given.cache_seconds:,.1f} s, at {given.rate:,.1f} examples per second"
    live = given.live_seconds / given.trainings
    yield "teacher seconds per training", f"{live:,.1f} s, or {duration_text(given.live_seconds)} in all trainings"
    yield "paid for itself after", count(given.paid_after, "training")
