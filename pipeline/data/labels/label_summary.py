"""Your own rows in words: how many of each class, and what is cut, before anything is trained on them."""

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.data.labels.label_names import SHOWN
from pipeline.data.rows.rows import TaskRows
from pipeline.data.splits import Split
from pipeline.data.tasks import Task
from pipeline.errors import one_line

MOST_CLASSES = 12  # that are named, the most frequent ones


def summary(rows: TaskRows, splits: Mapping[str, Split], max_length: int) -> Iterator[str]:
    """Yield a line for each split: its rows, those of each class or the range of its scores, and what is cut.

    `splits` are the tokenised ones; a text of `max_length` tokens counts as cut.
    """
    for name, part in rows.splits.items():
        labels = _labels(rows.task, part.labels) if part.labelled else "without labels"
        cut = ""
        if name in splits:
            count = int((splits[name].lengths >= max_length).sum())
            cut = f"; --max-length {max_length} cuts {count:,} of them ({count / len(part):.1%})" if count else ""
        yield f"{name}: {len(part):,} rows, {labels}{cut}"


def _labels(task: Task, labels: np.ndarray) -> str:
    if not task.labels:
        return f"scores from {labels.min():g} to {labels.max():g}, mean {labels.mean():.4g}"
    counts = labels.sum(0) if labels.ndim == 2 else np.bincount(labels[labels >= 0], minlength=len(task.labels))
    order = np.argsort(-counts, kind="stable") if len(counts) > MOST_CLASSES else np.arange(len(counts))
    named = ", ".join(f"{one_line(task.labels[index], SHOWN)} {counts[index]:,}" for index in order[:MOST_CLASSES])
    last = order[-1]
    rest = f", … down to {one_line(task.labels[last], SHOWN)} {counts[last]:,}" if len(counts) > MOST_CLASSES else ""
    without = int((~labels.any(1)).sum()) if labels.ndim == 2 else 0
    noun = "classes" if task.kind.has_classes else "choices, the right ones"
    return f"{len(counts):,} {noun}: {named}{rest}" + (f"; {without:,} rows without a label" if without else "")
