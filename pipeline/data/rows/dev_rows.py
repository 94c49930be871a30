"""Dev rows taken from the training rows."""

import numpy as np

from pipeline.data.rows.raw_rows import RawSplit
from pipeline.errors import BadRows
from pipeline.system.progress import note

DEV_SEED = 20190
FEWEST = 2  # rows of a class from which one can be taken
CLASS = "class"


def with_dev(train: RawSplit, fraction: float, noun: str = CLASS) -> tuple[RawSplit, RawSplit]:
    """Return training rows and dev rows, `fraction` of those with a label: always the same ones, as many of each class.

    `noun` is what the rows have in place of classes, as scores; those of which hardly two are equal count as one. A
    class of one row stays in the training rows. Raises `BadRows` if there are too few rows.
    """
    labelled = np.flatnonzero(train.has_label)
    if not len(labelled):
        raise BadRows(f"--dev-fraction {fraction:g}: no training row has a label. Give --dev-file")
    labels = [str(train.labels[row]) for row in labelled]
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    together = noun != CLASS and counts.mean() < FEWEST
    if together:
        codes, counts = np.zeros_like(codes), np.array([len(labelled)])
    order = np.random.default_rng(DEV_SEED).permutation(len(labelled))
    order = order[counts[codes[order]] >= FEWEST]
    by_class = order[np.argsort(codes[order], kind="stable")]
    count = min(round(fraction * len(labelled)), len(by_class) // 2)
    rows = "training rows" if len(labelled) == len(train) else "training rows with a label"
    if not count:
        raise BadRows(f"--dev-fraction {fraction:g} of {len(labelled)} {rows}: too few rows. Give --dev-file")
    chosen = np.zeros(len(train), bool)
    chosen[labelled[by_class[((np.arange(count) + 0.5) * len(by_class) / count).astype(int)]]] = True
    part = "" if together else f", the same part of each {noun}"
    note(f"dev: {count:,} of {len(labelled):,} {rows}{part} (--dev-fraction {fraction:g})")
    return train.taken(np.flatnonzero(~chosen)), train.taken(np.flatnonzero(chosen))
