"""The classes of your own rows, and the number of each label."""

import re

import numpy as np

from pipeline.data.rows import UNLABELLED, RawSplit, SplitRows
from pipeline.data.tasks import TASKS, Task
from pipeline.errors import BadRows, one_line


def own_labels(train: RawSplit, column: str) -> tuple[str, ...]:
    """Return the classes of training rows, in the order of their data set if it has one.

    Else they are sorted.
    """
    if train.classes:
        return train.classes
    labels, faults = set(), train.faults()
    for row, label in enumerate(train.labels):
        if isinstance(label, str) and label.strip():
            labels.add(label)
        else:
            fact = "is a list" if isinstance(label, list) else "no label"
            faults.add("label", *train.place(row), f"{fact} in {one_line(column)}", "Fill it in, or remove the row")
    faults.check()
    return sorted_classes(labels, train, column)


def sorted_classes(labels: set[str], train: RawSplit, column: str) -> tuple[str, ...]:
    """Return classes in order: as numbers where all are whole. Raises `BadRows` for fewer than two."""
    if len(labels) < 2:
        place = one_line(train.places[0][0])
        raise BadRows(f"{place}: column {column!r} has only one label; training needs two or more")
    is_whole = all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels)
    return tuple(sorted(labels, key=lambda label: (int(label), label)) if is_whole else sorted(labels))


def numbered(raw: RawSplit, task: Task) -> SplitRows:
    """Return the rows with the numbers of their labels. Raises `BadRows` for a label that the task does not have."""
    labelled = any(label is not None for label in raw.labels)
    numbers, faults = [], raw.faults()
    official = task.name in TASKS
    for row, label in enumerate(raw.labels):
        try:
            text = label if isinstance(label, str) else ""
            numbers.append(task.kind.parse_label(text, task.labels, by_number=official) if labelled else UNLABELLED)
        except ValueError as error:
            advice = "Fix this row" if official else "Fix this row, or name another --label-column"
            faults.add("label", *raw.place(row), one_line(error), advice)
    faults.check()
    return SplitRows(raw.texts, np.array(numbers, task.kind.label_dtype), labelled)
