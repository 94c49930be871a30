"""A few labelled training rows of each class; the others become the transfer split, without their labels."""

from dataclasses import replace

import numpy as np

from pipeline.data.rows.rows import TaskRows
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.tasks import TRAIN, TRANSFER
from pipeline.errors import BadOption, BadRows, one_line
from pipeline.system.progress import note


def with_few_labels(rows: TaskRows, per_class: int, seed: int) -> TaskRows:
    """Return `per_class` training rows of each class, drawn with `seed`, and the others as the transfer split.

    Where there is a transfer split already, the others are left out. Rows stay in their order; those drawn for fewer
    labels of one seed are among those for more. Raises `BadOption` for a kind of task whose rows do not have one class
    each, `BadRows` for a class of fewer rows.
    """
    kind, train = rows.task.kind, rows.splits[TRAIN]
    if kind.name != SINGLE_LABEL.name:
        problem = f"this task is {kind.title}: leave it out"
        raise BadOption(f"--labels-per-class is for rows of one class each, and {problem}")
    counts = np.bincount(train.labels[kind.has_label(train.labels)], minlength=len(rows.task.labels))
    if counts.min() < per_class:
        label = rows.task.labels[counts.argmin()]
        raise BadRows(
            f"--labels-per-class {per_class}: only {counts.min():,} training rows have the label {one_line(label)}. "
            f"Use --labels-per-class {counts.min()} or less"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    chosen = np.zeros(len(train), bool)
    for number in range(len(counts)):
        chosen[order[train.labels[order] == number][:per_class]] = True
    labelled, rest = train.taken(np.flatnonzero(chosen)), train.taken(np.flatnonzero(~chosen))
    splits = {TRAIN: labelled}
    if rows.transfer is None and len(rest):
        splits[TRANSFER] = replace(rest, labels=kind.without_labels(len(rest), len(counts)), labelled=False)
    note(f"{len(labelled):,} of {len(train):,} training rows keep their labels (--labels-per-class {per_class})")
    return replace(rows, splits=splits | {name: part for name, part in rows.splits.items() if name != TRAIN})
