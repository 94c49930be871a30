"""The classes of your own rows, and the number of each label."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.kinds.task_kind import OTHER_CLASS, UNLABELLED
from pipeline.data.labels.label_names import is_mark, is_unfit, listed, quoted, rename_option, spelling
from pipeline.data.labels.label_questions import check_classes, is_decimal, is_number
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tasks import TASKS, TEST, TRAIN, Task, role_of
from pipeline.errors import BadRows, one_line

_ESCAPES = re.compile("\x1b\\[[0-9;]*[A-Za-z]")  # colours of a terminal
PART = "A dev or test split has labels in all of its rows, or (a test split) in none. "
OTHERS_NAMED = 5  # labels beside the first that the task does not have


def own_labels(
    train: RawSplit, column: str, renames: Mapping[str, str | None] | None = None, accepted: bool = False
) -> tuple[str, ...]:
    """Return the classes of training rows, in the order of their data set if it has one; else they are sorted.

    `renames` are those of --rename-labels, which the rows have already; labels `accepted` with --yes are not doubted.
    All of the rows have a label. Raises `BadRows` for labels that cannot be names, and that may not be meant.
    """
    renames = renames or {}
    faults = train.faults()
    labels = {label for label in train.labels if isinstance(label, str)}
    readable = {label: one_line(_ESCAPES.sub("", label)) or None for label in sorted(labels) if is_unfit(label)}
    for row, label in enumerate(train.labels):
        if isinstance(label, str) and label in readable:
            answer = rename_option({**renames, **readable})
            advice = f"Fix this row, or add {answer}" if answer else "Fix this row"
            faults.add("unfit", *train.place(row), f"the label {quoted(label)} has control characters", advice)
    faults.check()
    if train.classes:
        return train.classes
    if not accepted:
        check_classes(train, column, renames)
    return sorted_classes(labels, train, column)


def without_rows(renames: Mapping[str, str | None], missing: Iterable[str]) -> str:
    """Return the advice for rows whose label is missing, written in these ways: they can be left out."""
    answer = rename_option({**renames, **dict.fromkeys(sorted(missing))})
    return f"Fill it in, or leave all rows without a label out, of train too: {answer}"


def sorted_classes(labels: set[str], train: RawSplit, column: str) -> tuple[str, ...]:
    """Return classes in order: as numbers where all are whole. Raises `BadRows` for fewer than two."""
    if len(labels) < 2:
        place = one_line(train.places[0][0])
        count = "only one label" if labels else "no label in any row"
        raise BadRows(f"{place}: column {column!r} has {count}; training needs two or more")
    is_whole = all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels)
    return tuple(sorted(labels, key=lambda label: (int(label), label)) if is_whole else sorted(labels))


def numbered(
    raw: RawSplit,
    task: Task,
    split: str,
    renames: Mapping[str, str | None] | None = None,
    known_classes: bool = False,
) -> SplitRows:
    """Return the rows with the numbers of their labels.

    A test split of missing labels (none, blank, -1, -) is unlabelled. Raises `BadRows` for a label that the task does
    not have, and for a split with labels in a part of its rows. With `known_classes` (those of a trained model),
    training rows of other classes get -2.
    """
    texts = _texts(raw)
    counts = Counter(texts)
    missing = {label for label in counts if label not in task.labels and (is_mark(label) or label.strip() == "-1")}
    if len(missing) == len(counts) and role_of(split) == TEST:
        return SplitRows(raw.texts, np.full(len(raw), UNLABELLED, task.kind.label_dtype), labelled=False)
    numbers: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for label in counts:
        try:
            numbers[label] = task.kind.parse_label(label, task.labels, by_number=task.name in TASKS)
        except ValueError as error:
            none_of = f"the label {quoted(label)} is none of {listed(task.labels)}"
            reasons[label] = none_of if task.kind.has_classes else one_line(error)
    if reasons and not (known_classes and split == TRAIN):
        _refuse(raw, task, counts, reasons, missing, None if known_classes else renames or {})
    without = {label: UNLABELLED if label in missing else OTHER_CLASS for label in reasons}
    labels = [numbers[label] if label in numbers else without[label] for label in texts]
    return SplitRows(raw.texts, np.array(labels, task.kind.label_dtype), labelled=True)


def named_labels(labels: np.ndarray, names: Sequence[str]) -> list[Any]:
    """Return labels as rows may write them: a name, a list of names, or a number where `names` is empty."""
    if not names:
        return labels.tolist()
    if labels.ndim == 2:
        return [[names[place] for place in np.flatnonzero(row).tolist()] for row in labels]
    return [names[label] for label in labels]


def _refuse(
    raw: RawSplit,
    task: Task,
    counts: Mapping[str, int],
    reasons: Mapping[str, str],
    missing: set[str],
    renames: Mapping[str, str | None] | None,
) -> None:
    """Raise `BadRows` for the labels that the task does not have, with their lines and what can be done.

    Without `renames`, the classes are those of a trained model, and only the rows can be changed.
    """
    faults = raw.faults()
    first = next(label for label in _texts(raw) if label in reasons)
    fact, rows = reasons[first], {first}
    if first in missing and task.name not in TASKS:
        fact, rows = "no label", missing
    elif further := [f"{quoted(label)} ({counts[label]:,})" for label in reasons if label not in (first, *missing)]:
        fact += f", and neither are {', '.join(further[:OTHERS_NAMED])}{', …' if len(further) > OTHERS_NAMED else ''}"
    restored = "The rows are not those that the model was trained with: restore them"
    advice = restored if renames is None else _advice(task, first, reasons, missing, renames)
    for row, label in enumerate(_texts(raw)):
        if label in rows:
            faults.add("label", *raw.place(row), fact, advice)
    faults.check()


def _texts(raw: RawSplit) -> list[str]:
    return ["" if label is None else str(label) for label in raw.labels]


def _advice(
    task: Task, label: str, reasons: Mapping[str, str], missing: set[str], renames: Mapping[str, str | None]
) -> str:
    if task.name in TASKS:
        return "Fix this row"
    if label in missing:
        return PART + without_rows(renames, missing)
    if is_decimal(label) and all(map(is_number, task.labels)):
        return "If the labels are scores, add --regression; if they are classes, fix this row"
    same = {spelling(name): name for name in task.labels}
    same_spelling = {name: same[spelling(name)] for name in reasons if spelling(name) in same}
    without = {name: None for name in reasons if name not in same_spelling and name not in missing}
    answer = rename_option({**renames, **same_spelling, **without})
    if label in same_spelling and answer:
        return f"If it is {quoted(same_spelling[label])}, add {answer}"
    leave = f", or leave such labels out: {answer}" if answer else ""
    return f"Fix this row, add rows of this class to the training rows{leave}"
