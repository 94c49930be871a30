"""Rows of multiple-choice tasks: the choices of each question, and which one is right."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from pipeline.data.kinds.multiple_choice import MOST_CHOICES, choice_names
from pipeline.data.kinds.task_kind import UNLABELLED
from pipeline.data.rows.answers import Answers, Choices, check_first_number
from pipeline.data.rows.raw_rows import RawSplit, taken_columns
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.cells import Cell, LabelledTexts
from pipeline.data.tasks import TASKS, TEST, TRAIN, role_of
from pipeline.errors import BadRows, one_line
from pipeline.system.progress import note


@dataclass(frozen=True)
class ChoiceRows(SplitRows):
    """Questions: `choices` has a list for each of the S places; labels are the places of the right choices."""

    choices: tuple[list[str], ...]
    source: RawSplit  # the same rows, with their places

    @property
    def sequences(self) -> int:
        """S, the number of choices."""
        return len(self.choices)

    def taken(self, rows: np.ndarray) -> Self:
        """Return these questions (numbers in rising order)."""
        return replace(super().taken(rows), choices=taken_columns(self.choices, rows), source=self.source.taken(rows))

    def inputs(self, start: int, stop: int) -> list[list[str]]:
        """Return the pairs of texts of S sequences per row: the first text, and the other text with a choice."""
        texts, choices = ([column[start:stop] for column in columns] for columns in (self.texts, self.choices))
        return choice_inputs(texts, choices)


def choice_inputs(texts: Sequence[list[str]], choices: Sequence[list[str]]) -> list[list[str]]:
    """Return the pairs of texts of S sequences per row, as a tokenizer takes them.

    They are the first text, and the others with a choice. `texts` and `choices` have a list for each column.
    """
    first, *questions = texts
    beginnings = zip(*questions, strict=True) if questions else [()] * len(first)
    rows = zip(beginnings, *choices, strict=True)
    seconds = [" ".join((*beginning, choice)).strip() for beginning, *of_row in rows for choice in of_row]
    return [[text for text in first for _ in choices], seconds]


def choice_rows(
    raw: Mapping[str, RawSplit], task: str, renames: str | None = None, accepted: bool = False
) -> tuple[tuple[str, ...], dict[str, SplitRows]]:
    """Return the names of the choices, and the rows of each split. Raises `BadRows` for rows that cannot be used.

    `renames` is what --rename-labels did to the answers; numbers `accepted` with --yes are not doubted.
    """
    choices = {name: _choices(part, blank=task in TASKS) for name, part in raw.items()}
    size = _common_size(raw, choices, published=task in TASKS)
    answered = {
        name: np.flatnonzero(part.has_label) if name == TRAIN and task not in TASKS else np.arange(len(part))
        for name, part in raw.items()
    }
    answers = {
        name: Answers.read(part.taken(answered[name]), [choices[name][row] for row in answered[name]])
        for name, part in raw.items()
    }
    labelled = {
        name
        for name, read in answers.items()
        if len(answered[name]) and not (role_of(name) == TEST and read.are_missing)
    }
    check_first_number([answers[name] for name in raw if name in labelled], size, renames, accepted)
    rows: dict[str, SplitRows] = {}
    for name, part in raw.items():
        labels = np.full(len(part), UNLABELLED, np.int64)
        if name in labelled:
            labels[answered[name]] = answers[name].places(size)
        rows[name] = ChoiceRows(part.texts, labels, name in labelled, _by_place(choices[name]), part)
    return choice_names(size), rows


def unanswered_rows(raw: RawSplit, task: str, size: int, remedy: str | None = None) -> ChoiceRows:
    """Return questions with `size` choices each, whose answers are not known. Raises `BadRows`.

    `remedy` is the advice for empty choices, where --num-choices is not an option.
    """
    choices, faults = _choices(raw, blank=task in TASKS, remedy=remedy), raw.faults()
    for row, of_row in enumerate(choices):
        if (count := len(of_row.texts)) != size:
            faults.add("size", *raw.place(row), f"has {count} choices, and the task has {size}", "Remove this row")
    faults.check()
    return ChoiceRows(raw.texts, np.full(len(raw), UNLABELLED, np.int64), False, _by_place(choices), raw)


def _by_place(choices: list[Choices]) -> tuple[list[str], ...]:
    return tuple(list(column) for column in zip(*(row.texts for row in choices), strict=True))


def with_choices(raw: RawSplit, count: int, name: str) -> RawSplit:
    """Return the questions that have `count` choices, none of them empty; note how many others are left out.

    Raises `BadRows` if no question is left.
    """
    kept = [_number(cells) in (count, None) for cells in raw.choices]
    if not any(kept):
        place = one_line(raw.places[0][0])
        raise BadRows(f"{place}: none of its questions has {count} choices. Give another --num-choices")
    if (left_out := kept.count(False)) == 0:
        return raw
    note(f"{name}: {left_out:,} of {len(raw):,} questions left out, which do not have {count} choices")
    return raw.taken(np.flatnonzero(kept))


def _number(cells: tuple[Cell, ...]) -> int | None:
    """Return the number of choices, 0 if one is empty; None for a cell that is not a list."""
    choices = _as_list(cells)
    if not isinstance(choices, list):
        return None
    return len(choices) if all(isinstance(text, str) and text.strip() for text in choices) else 0


def _as_list(cells: tuple[Cell, ...]) -> Any:
    """Return the choices of a row; a list may be JSON, as csv files have it. Another cell stays as it is."""
    cell = cells[0] if len(cells) == 1 else list(cells)
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            items = json.loads(cell)
            return items if all(isinstance(item, str) for item in items) else cell
    return cell


def _choices(raw: RawSplit, blank: bool, remedy: str | None = None) -> list[Choices]:
    """Return the choices of every row; `blank` ones may be among those of a published task."""
    faults, rows = raw.faults(), []
    for row, cells in enumerate(raw.choices):
        choices = _as_list(cells)
        if not isinstance(choices, list):
            fact = f"its choices are not a list but {one_line(choices, 40)!r}"
            advice = "Write them as a list, or name a column for each with --choices-columns A,B,…"
            faults.add("list", *raw.place(row), fact, advice)
        elif any(not isinstance(text, str) or not (text.strip() or blank) for text in choices):
            advice = f"Fill it in, or leave such questions out with --num-choices {len(choices)}"
            faults.add("blank choice", *raw.place(row), "one of its choices is empty", remedy or advice)
        else:
            labels = choices.labels if isinstance(choices, LabelledTexts) else []
            texts = tuple(str(text) for text in choices)
            rows.append(Choices(texts, tuple((label or "").strip() for label in labels)))
    faults.check()
    return rows


def _common_size(raw: Mapping[str, RawSplit], choices: Mapping[str, list[Choices]], published: bool) -> int:
    """Return the number of choices of every row. Raises `BadRows` for rows with another number than most have."""
    counts = Counter(len(row.texts) for rows in choices.values() for row in rows)
    size = counts.most_common(1)[0][0]
    first = next(iter(raw.values()))
    advice = "Use the official file" if published else f"To leave such questions out, add --num-choices {size}"
    faults = first.faults()
    for name, part in raw.items():
        for row, of_row in enumerate(choices[name]):
            if (count := len(of_row.texts)) != size:
                fact = f"has {count} choices, not {size} as {counts[size]:,} of {counts.total():,} rows"
                faults.add("size", *part.place(row), fact, advice)
    faults.check()
    if not 2 <= size <= MOST_CHOICES:
        place, number = first.place(0)
        raise BadRows(f"{one_line(place)} {first.unit} {number}: has {size} choices. Give 2 to {MOST_CHOICES}")
    return size
