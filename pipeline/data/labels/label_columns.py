"""The label column of your own rows, for each kind of task: from cells to the array of labels."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.config.rows import RowsConfig
from pipeline.data.kinds.task_kind import UNLABELLED
from pipeline.data.labels.label_cells import check_one_label, several_labels, single_labels
from pipeline.data.labels.label_names import parse_renames
from pipeline.data.labels.labels import numbered, own_labels
from pipeline.data.labels.missing_labels import with_labels_where_given
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.cells import Cell
from pipeline.data.task_kinds import MULTI_LABEL, SCALED_REGRESSION, SINGLE_LABEL, TaskKind
from pipeline.data.tasks import TRAIN, Task
from pipeline.errors import BadOption, BadRows, one_line


def own_task(
    config: RowsConfig,
    columns: tuple[str, ...],
    train: RawSplit,
    known: tuple[str, ...] | None = None,
    teachers: Callable[[], tuple[str, ...]] | None = None,
) -> Task:
    """Return the task of your own rows: its kind, and its classes: those `known`, or as the training rows have them.

    Where no training row has a label, the classes are those that `teachers` returns. Raises `BadOption` for options
    that contradict each other or the rows, `BadRows` for labels that cannot be classes.
    """
    column = str(config.label_column)
    kind = kind_of_rows(config, train.labels)
    train = train.taken(np.flatnonzero(train.has_label))
    classes: tuple[str, ...] = ()
    if kind.has_classes and not known and not len(train) and not train.classes and teachers:
        classes = teachers()
    elif kind.has_classes:
        labels = single_labels(train, config.label_separator) if kind is MULTI_LABEL else train
        classes = known or own_labels(labels, column, parse_renames(config.rename_labels), config.yes)
    return Task(config.task, columns, classes, kind.metrics(kind.num_logits(classes)), kind)


def kind_of_rows(config: RowsConfig, labels: Sequence[Cell]) -> TaskKind:
    """Return the kind of task of your own rows with these labels. Raises `BadOption` for options that contradict it."""
    lists = any(isinstance(label, list) for label in labels)
    if config.label_separator == "":
        raise BadOption("--label-separator is empty. Give what is between two labels of a row, for example ','")
    if config.regression and (lists or config.label_separator):
        problem = "--label-separator is for several" if config.label_separator else "the rows have lists of labels"
        raise BadOption(f"--regression is for one score per row, and {problem}. Leave one of them out")
    if config.regression and config.rename_labels:
        raise BadOption("--rename-labels renames classes, and --regression has scores. Leave one of them out")
    if config.regression:
        return SCALED_REGRESSION
    return MULTI_LABEL if lists or config.label_separator else SINGLE_LABEL


def split_rows(raw: RawSplit, task: Task, split: str, config: RowsConfig, is_known: bool = False) -> SplitRows:
    """Return the rows of a split with their labels. Raises `BadRows` for labels that the task does not have.

    Training rows may lack a label. If the classes are known from a model, training rows of other classes are not
    refused.
    """
    if split != TRAIN:
        return _all_labelled(raw, task, split, config, is_known)
    missing = task.kind.without_labels(len(raw), task.num_logits)
    return with_labels_where_given(raw, missing, lambda part: _all_labelled(part, task, split, config, is_known))


def _all_labelled(raw: RawSplit, task: Task, split: str, config: RowsConfig, is_known: bool) -> SplitRows:
    renames = parse_renames(config.rename_labels)
    if task.kind is MULTI_LABEL:
        return several_labels(raw, task, split, config.label_separator, renames)
    check_one_label(raw, "label" if task.kind.has_classes else "score")
    if task.kind is SINGLE_LABEL:
        return numbered(raw, task, split, renames, is_known)
    labels = np.full(len(raw), UNLABELLED, task.kind.label_dtype)
    labelled, faults = any(isinstance(cell, str) and cell.strip() for cell in raw.labels), raw.faults()
    for row, cell in enumerate(raw.labels if labelled else ()):
        try:
            labels[row] = task.kind.parse_label("" if cell is None else cell, task.labels, by_number=False)
        except ValueError as error:
            faults.add("label", *raw.place(row), one_line(error), "Fix this row, or name another --label-column")
    faults.check()
    return SplitRows(raw.texts, labels, labelled)


def fitted(task: Task, rows: SplitRows, train: RawSplit, has_teacher: bool) -> Task:
    """Return the task with what its kind takes from the training labels. Raises `BadRows` if they say nothing.

    Without any label it is what the teacher took from the labels of its own training, if the task `has_teacher`.
    """
    if not rows.labelled and (task.labels or has_teacher):
        return task
    if not rows.labelled:
        raise BadRows(f"{one_line(train.places[0][0])}: no row has a label. Name another --label-column")
    try:
        return replace(task, kind=task.kind.fitted(rows.labels[task.kind.has_label(rows.labels)]))
    except ValueError as error:
        raise BadRows(f"{one_line(train.places[0][0])}: {error}. Name another --label-column") from error
