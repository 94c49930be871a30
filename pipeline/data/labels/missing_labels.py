"""Rows without a label: how files write them, and what becomes of them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.cells import Cell
from pipeline.errors import BadRows, one_line
from pipeline.system.progress import note


def with_missing(raw: RawSplit, marker: str | None, blank: bool) -> RawSplit:
    """Return the rows with null for labels that are missing: the `marker` of --unlabelled-label, and `blank` ones.

    In a multi-label task an empty cell is a row of none of the classes, so it is not missing.
    """

    def is_missing(cell: Cell) -> bool:
        text = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
        return isinstance(text, str) and (text.strip() == marker or (blank and not text.strip()))

    return replace(raw, labels=[None if is_missing(cell) else cell for cell in raw.labels])


def with_marked_missing(splits: dict[str, RawSplit], marker: str | None) -> dict[str, RawSplit]:
    """Return the splits with null for the labels that are the `marker` of --unlabelled-label. Say so if none is it."""
    marked = {name: with_missing(raw, marker, blank=False) for name, raw in splits.items()}
    if marker is not None and all(marked[name].labels == raw.labels for name, raw in splits.items()):
        note(f"no row has the label {one_line(marker, 40)} of --unlabelled-label")
    return marked


def check_dev(dev: RawSplit, column: str | None, marker: str | None) -> None:
    """Raise `BadRows` for dev rows without any label; `marker` is that of --unlabelled-label."""
    if not with_missing(dev, marker, blank=True).has_label.any():
        place = one_line(dev.places[0][0])
        named = f"Fill in {one_line(column, 40)}, or name another --label-column" if column else "Name --label-column"
        raise BadRows(f"{place}: no dev row has a label. {named}; without labels, give the rows to --unlabelled-file")


def note_missing(train: RawSplit) -> None:
    """Say how many training rows do not have a label, if there are any."""
    if count := len(train) - int(train.has_label.sum()):
        note(
            f"{count:,} of {len(train):,} training rows do not have a label: students learn only the teacher's "
            "targets from them"
        )


def with_labels_where_given(raw: RawSplit, missing: np.ndarray, read: Callable[[RawSplit], SplitRows]) -> SplitRows:
    """Return training rows with the labels that `read` makes of those rows that have one.

    `missing` [n] are labels of as many rows without any.
    """
    has_label = raw.has_label
    if has_label.all():
        return read(raw)
    labels = missing.copy()
    if has_label.any():
        labels[has_label] = read(raw.taken(np.flatnonzero(has_label))).labels
    return SplitRows(raw.texts, labels, bool(has_label.any()))
