"""Labels of all but a few training rows left out: what a model learns from few labels and much text."""

from dataclasses import replace

import numpy as np

from pipeline.data.rows import TaskRows
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.tasks import TRAIN
from pipeline.errors import BadOption, BadRows, one_line
from pipeline.system.progress import note


def with_few_labels(rows: TaskRows, per_class: int, seed: int) -> TaskRows:
    """Return the rows with the labels of `per_class` training rows of each class, drawn with `seed`.

    All rows stay, in their order; fewer labels of one seed are among the more. Raises `BadOption` for a kind of task
    whose rows do not have one class each, `BadRows` for a class of fewer labelled rows.
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
    labels = kind.without_labels(len(train), len(rows.task.labels))
    for number in range(len(rows.task.labels)):
        chosen = order[train.labels[order] == number][:per_class]
        labels[chosen] = number
    kept = per_class * len(rows.task.labels)
    note(f"the labels of {kept:,} of {len(train):,} training rows are kept (--labels-per-class {per_class})")
    return replace(rows, splits={**rows.splits, TRAIN: replace(train, labels=labels)})
