"""Dev rows taken from the training rows, and dev rows that are training rows too."""

import numpy as np

from pipeline.data.rows import RawSplit
from pipeline.errors import BadRows
from pipeline.system.progress import note

DEV_SEED = 20190
FEWEST = 2  # rows of a class from which one can be taken


def with_dev(train: RawSplit, fraction: float, noun: str = "class") -> tuple[RawSplit, RawSplit]:
    """Return training rows and dev rows, `fraction` of them: the same for the same rows, as many of each class.

    `noun` is what the rows have in place of classes, as scores; scores of which hardly two are equal count as one. A
    class of one row stays in the training rows. Raises `BadRows` if there are too few rows.
    """
    _, codes, counts = np.unique([str(label) for label in train.labels], return_inverse=True, return_counts=True)
    together = counts.mean() < FEWEST
    if together:
        codes, counts = np.zeros_like(codes), np.array([len(train)])
    order = np.random.default_rng(DEV_SEED).permutation(len(train))
    order = order[counts[codes[order]] >= FEWEST]
    by_class = order[np.argsort(codes[order], kind="stable")]
    count = min(round(fraction * len(train)), len(by_class) // 2)
    if not count:
        raise BadRows(f"--dev-fraction {fraction:g} of {len(train)} training rows: too few rows. Give --dev-file")
    chosen = np.zeros(len(train), bool)
    chosen[by_class[((np.arange(count) + 0.5) * len(by_class) / count).astype(int)]] = True
    part = "" if together else f", the same part of each {noun}"
    note(f"dev: {count:,} of {len(train):,} training rows{part} (--dev-fraction {fraction:g})")
    return train.taken(np.flatnonzero(~chosen)), train.taken(np.flatnonzero(chosen))


def note_repeated(train: RawSplit, dev: RawSplit, name: str) -> None:
    """Say how many dev rows have the texts of a training row: a score on them says little."""
    repeated = set(zip(*dev.texts, strict=True)).intersection(zip(*train.texts, strict=True))
    count = sum(texts in repeated for texts in zip(*dev.texts, strict=True))
    if count:
        note(f"{name}: {count:,} of {len(dev):,} rows have the texts of a training row")
