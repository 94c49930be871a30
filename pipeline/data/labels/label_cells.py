"""Cells of the label column that have several labels: lists, texts with a separator, lists that became text."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.data.kinds.task_kind import UNLABELLED
from pipeline.data.labels.label_names import is_mark, quoted
from pipeline.data.labels.label_questions import KEEP, rows_of_label
from pipeline.data.labels.labels import PART, without_rows
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.cells import Cell
from pipeline.data.tasks import TEST, TRAIN, Task, role_of
from pipeline.errors import BadRows, one_line

# A list, tuple or set as Python, numpy or JSON write it
_LIST_TEXT = re.compile(r"\[([\d\s.]*|.*['\",].*)\]|\(\s*(['\"]).*\)|\{\s*(['\"]).*\}", re.DOTALL)


def class_names(cell: Cell, separator: str | None) -> tuple[str, ...]:
    """Return the classes of a row, each once: the items of a list, or the parts of a text between separators."""
    items: list[Any] = cell if isinstance(cell, list) else (cell or "").split(separator) if separator else [cell]
    return tuple(dict.fromkeys(name for item in items if (name := (item or "").strip())))


def single_labels(raw: RawSplit, separator: str | None) -> RawSplit:
    """Return each label of the rows as a label alone, in the line of its row; the texts stay those of the rows."""
    names = [class_names(cell, separator) for cell in raw.labels]
    starts = np.cumsum([0, *map(len, names)])
    return replace(
        raw,
        labels=[name for row in names for name in row],
        numbers=[number for number, row in zip(raw.numbers, names, strict=True) for _ in row],
        places=[(place, int(starts[first])) for place, first in raw.places],
    )


def check_cells(splits: Mapping[str, RawSplit], column: str, separator: str | None) -> None:
    """Raise `BadRows`, a question, for lists that became text, and for a separator that no training label contains."""
    for raw in splits.values():
        texts = {label: row for row, label in reversed([*enumerate(raw.labels)]) if isinstance(label, str)}
        lists = [label for label in texts if _LIST_TEXT.fullmatch(label.strip())]
        if lists:
            first = min(lists, key=texts.__getitem__)
            raise BadRows(
                f"{one_line(raw.place(texts[first])[0])}: the label {quoted(first)} ({rows_of_label(raw, first)}) is a "
                "list that became text. Write a|b with --label-separator '|', or lists in a jsonl file (pandas: "
                f"to_json(FILE, orient='records', lines=True) while they are lists); {KEEP}"
            )
    train = splits[TRAIN]
    given = [label for label in train.labels if isinstance(label, str) and label.strip()]
    if separator and given and not any(separator in label for label in given):
        raise BadRows(
            f"{one_line(train.places[0][0])}: no label in {one_line(column, 40)} contains the separator "
            f"{quoted(separator)}; the first is {quoted(given[0])} ({rows_of_label(train, given[0])}). Give another "
            "--label-separator, or leave it out; if every row has one label, add --yes"
        )


def check_one_label(raw: RawSplit, noun: str) -> None:
    """Raise `BadRows` for lists in a split of a task whose training rows have one label, or score, each."""
    faults = raw.faults()
    for row, cell in enumerate(raw.labels):
        if isinstance(cell, list):
            fact = f"a list of labels, and the training rows have one {noun} each"
            advice = f"Write one {noun}" + ("" if noun == "score" else ", or lists in the training rows, too")
            faults.add("list", *raw.place(row), fact, f"{advice}, or name another --label-column")
    faults.check()


def several_labels(
    raw: RawSplit, task: Task, split: str, separator: str | None, renames: Mapping[str, str | None]
) -> SplitRows:
    """Return the rows of a multi-label task with 0 or 1 for each class, int8 [n, C].

    An empty list, or an empty text beside others, is a row of none of the classes; null is a missing label. A test
    split of missing labels (null, blank, -1, -) is unlabelled. Raises `BadRows` for labels that the task does not have,
    and for nulls beside labels.
    """
    labels = np.full((len(raw), len(task.labels)), UNLABELLED, task.kind.label_dtype)
    if role_of(split) == TEST and all(_is_missing(cell, task, separator) for cell in raw.labels):
        return SplitRows(raw.texts, labels, labelled=False)
    faults = raw.faults()
    for row, cell in enumerate(raw.labels):
        if cell is None:
            empty = "an empty text" if separator else "[]"
            advice = f"{PART}Write {empty} for none of the classes. {without_rows(renames, [''])}"
            faults.add("null", *raw.place(row), "no label (null)", advice)
            continue
        try:
            labels[row] = task.kind.parse_label(class_names(cell, separator), task.labels, by_number=False)
        except ValueError as error:
            faults.add("label", *raw.place(row), one_line(error), "Fix this row, or name another --label-column")
    faults.check()
    return SplitRows(raw.texts, labels, labelled=True)


def _is_missing(cell: Cell, task: Task, separator: str | None) -> bool:
    if isinstance(cell, list) or set(class_names(cell, separator)).intersection(task.labels):
        return False
    return cell is None or is_mark(cell) or cell.strip() == "-1"
