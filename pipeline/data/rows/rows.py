"""The rows of a task: texts and labels of each split."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from pipeline.data.kinds.task_kind import OTHER_CLASS, UNLABELLED
from pipeline.data.rows.leaks import Leaks, PlacedTexts
from pipeline.data.rows.raw_rows import RawSplit, taken_columns
from pipeline.data.targets.target_columns import TargetColumns
from pipeline.data.tasks import TRAIN, TRANSFER, Task
from pipeline.errors import BadRows


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split: `texts` has one list per text column; `labels` [n] in the type of the task's kind."""

    texts: tuple[list[str], ...]
    labels: np.ndarray
    labelled: bool  # else every label is -1
    targets: np.ndarray | None = field(default=None, kw_only=True)  # logits [n, C] of a teacher in the rows

    @property
    def sequences(self) -> int:
        """S, the number of inputs of an example."""
        return 1

    def inputs(self, start: int, stop: int) -> list[list[str]]:
        """Return the texts of rows start..stop-1 as a tokenizer takes them."""
        return [column[start:stop] for column in self.texts]

    def __len__(self) -> int:
        return len(self.labels)

    def taken(self, rows: np.ndarray) -> Self:
        """Return these rows (numbers in rising order)."""
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, texts=taken_columns(self.texts, rows), labels=self.labels[rows], targets=targets)

    def placed_texts(self, name: str) -> PlacedTexts:
        """Return the texts, and places in words: the numbers of the rows, from 1, in the split called `name`."""
        return PlacedTexts(self.texts, lambda row: f"{name} row {row + 1}")

    def relabelled(self, old: tuple[str, ...], new: tuple[str, ...]) -> "SplitRows":
        """Return the rows with the classes of `old` numbered as in `new`, the same names in another order."""
        if old == new:
            return self
        if self.labels.ndim == 2:  # a column for each class
            return replace(self, labels=np.ascontiguousarray(self.labels[:, [old.index(label) for label in new]]))
        marks = [OTHER_CLASS, UNLABELLED]  # in the places -2 and -1: they stay what they are
        numbers = np.array([new.index(label) for label in old] + marks)
        return replace(self, labels=numbers[self.labels])


class TargetStream(Protocol):
    """Turns the targets of a split into logits, part by part."""

    @property
    def columns(self) -> TargetColumns:
        """The columns to read beside the texts."""
        ...

    def logits(self, raw: RawSplit) -> np.ndarray:
        """Return the logits [n, C] of the next rows. Raises `BadRows` for targets that cannot be used."""
        ...

    def note(self, name: str) -> None:
        """Say what was assumed about the targets so far; `name` is that of the split."""
        ...


class RowStream(Protocol):
    """Rows without labels, which are read once, from their beginning to their end."""

    leaks: int  # rows that were left out: their texts are also in a dev or test split; known at the end

    def parts(self, size: int) -> Iterator[SplitRows]:
        """Yield the rows, `size` at a time, the rest at last. Raises `BadRows`."""
        ...


@dataclass(frozen=True)
class TaskRows:
    """A task and its splits in order train, dev…, test…; `origin` says where they came from.

    `leaks` are the training rows whose texts are also in a dev or test split; `transfer` has rows without labels. Where
    the rows have targets, `transfer_targets` reads those of `transfer`.
    """

    task: Task
    splits: dict[str, SplitRows]
    origin: str
    leaks: Leaks = field(default_factory=Leaks)
    transfer: RowStream | None = None
    transfer_targets: TargetStream | None = None
    transfer_leaks: int = 0  # of training rows that became the transfer split

    def leak_counts(self) -> dict[str, int]:
        """Return the number of leaks among the training rows, and among those of the transfer split once it is read."""
        if self.transfer:
            return {TRAIN: self.leaks.count, TRANSFER: self.transfer.leaks}
        train = {TRAIN: self.leaks.count - self.transfer_leaks}
        return train | ({TRANSFER: self.transfer_leaks} if TRANSFER in self.splits else {})

    def labelled(self) -> "TaskRows":
        """Return the rows without those training rows that do not have a label. Raises `BadRows` if none has."""
        train = self.splits[TRAIN]
        has_label = self.task.kind.has_label(train.labels)
        if not has_label.any():
            raise BadRows("no training row has a label to train on. Name another --label-column")
        if has_label.all():
            return self
        return replace(self, splits=self.splits | {TRAIN: train.taken(np.flatnonzero(has_label))})

    @property
    def texts(self) -> int:
        """The number of texts that a tokenizer gets for an input: 1, or 2 for pairs."""
        return max(len(part.inputs(0, 1)) for part in self.splits.values())


def without_transfer_leaks(rows: TaskRows) -> TaskRows:
    """Return the rows without the leaks in a transfer split that was made of training rows."""
    if TRANSFER not in rows.splits:
        return rows
    leaks, part = Leaks(rows.leaks.held_out), rows.splits[TRANSFER]
    is_leak = leaks.among(part.placed_texts(TRANSFER))
    leaks.note(TRANSFER, "They are left out")
    splits = {name: split for name, split in rows.splits.items() if name != TRANSFER or not is_leak.all()}
    if leaks.count and TRANSFER in splits:
        splits[TRANSFER] = part.taken(np.flatnonzero(~is_leak))
    return replace(rows, splits=splits, transfer_leaks=leaks.count)
