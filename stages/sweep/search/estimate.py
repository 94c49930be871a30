"""The cost of a sweep: its trials, their time by a measured training step, and the bytes that they read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cache.reader import Cache
from pipeline.distillation.recipe import training_split
from pipeline.system.formatting import duration, size, table
from stages.sweep.search.packing import measure_pack
from stages.sweep.search.trials import Trial, Trials, varying

TOKEN_BYTES = 5  # of a token's id and type
ROW_BYTES = 8 + 16 + 8 + 16  # of an example's id, hash, label and offsets


@dataclass(frozen=True)
class Estimate:
    """The last line of `sweep --dry-run`."""

    command: str
    dry_run: bool
    trials: int  # at most
    complete: int  # that need not be run
    examples: int  # that would be trained on, at most
    seconds: float  # of training steps alone, by a measured step of one trial of each kind
    bytes_read: int


def estimate(tried: Mapping[str, tuple[Trial, float]], trials: Trials, repeats: int = 1) -> Estimate:
    """Return the cost of trials, each up to its share of a whole training and `repeats` times.

    Trials that are complete cost nothing. `tried` is {key: (trial, share)}.
    """
    incomplete = [(trial, share) for trial, share in tried.values() if trial.result() is None]
    speeds: dict[tuple[Any, ...], float] = {}
    examples = seconds = read = 0.0
    for trial, share in incomplete:
        cache = trials.cache(trial.config.caches)
        kind = (*trial.batches, trial.recipe.method.name)
        if kind not in speeds:
            speeds[kind] = trial.config.batch_size / measure_pack(cache, trial.config, (1,))[1]
        of_trial = repeats * trial.examples_in(0, trial.steps(share))
        examples += of_trial
        seconds += of_trial / speeds[kind]
        read += of_trial * row_bytes(trial, cache)
    planned = repeats * len(tried)
    return Estimate(
        "sweep", True, planned, len(tried) - len(incomplete), round(examples), round(seconds, 1), round(read)
    )


def row_bytes(trial: Trial, cache: Cache) -> float:
    """Return the mean number of bytes of a training example that a trial reads."""
    types, objective = cache.manifest.column_types(), trial.recipe.objective
    split = training_split(cache, objective)
    return (
        sum(types[name].bytes(1) for name in objective.columns) + ROW_BYTES + TOKEN_BYTES * float(split.tokens.mean())
    )


def estimate_text(listed: Sequence[Trial], cost: Estimate) -> str:
    """Return a table of the trials, if all are listed, and a line with their cost."""
    names = varying(trial.option_values for trial in listed)
    rows = [
        [number, *(trial.option_values[name] for name in names), trial.config.out]
        for number, trial in enumerate(listed)
    ]
    rows = [["–" if cell is None else f"{cell:g}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    lines = [table(["trial", *names, "run"], rows)] if cost.trials == len(listed) else []
    lines.append(
        f"{cost.trials} trials, {cost.complete} of them complete; at most {cost.examples:,} examples to train on"
        f"{'' if cost.trials == len(listed) else ', where none is longer than the first'}: "
        f"about {duration(cost.seconds)} of training steps, by measured ones (evaluations aside), and "
        f"{size(cost.bytes_read)} read"
    )
    return "\n".join(lines)
