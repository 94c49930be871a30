"""Rows of multiple-choice tasks: the choices of each question, and which one is right."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.data.cells import Cell
from pipeline.data.kinds.multiple_choice import MOST_CHOICES, choice_names
from pipeline.data.rows import UNLABELLED, RawSplit, SplitRows
from pipeline.data.tasks import TASKS, TEST, role_of
from pipeline.errors import BadRows, one_line

NO_ANSWER = (None, "", str(UNLABELLED))  # how test rows without an answer are written


@dataclass(frozen=True)
class ChoiceRows(SplitRows):
    """Questions: `choices` has a list for each of the S places; labels are the places of the right choices."""

    choices: tuple[list[str], ...]
    source: RawSplit  # the same rows, with their places

    @property
    def sequences(self) -> int:
        """S, the number of choices."""
        return len(self.choices)

    def inputs(self, start: int, stop: int) -> list[list[str]]:
        """Return the pairs of texts of S sequences per row: the first text, and the other text with a choice."""
        first, *questions = (column[start:stop] for column in self.texts)
        beginnings = zip(*questions, strict=True) if questions else [()] * len(first)
        rows = zip(beginnings, *(column[start:stop] for column in self.choices), strict=True)
        seconds = [" ".join((*texts, choice)).strip() for texts, *choices in rows for choice in choices]
        return [[text for text in first for _ in self.choices], seconds]


def choice_rows(raw: Mapping[str, RawSplit], task: str) -> tuple[tuple[str, ...], dict[str, SplitRows]]:
    """Return the names of the choices, and the rows of each split. Raises `BadRows` for rows that cannot be used."""
    choices = {name: _choices(part, blank=task in TASKS) for name, part in raw.items()}
    size = len(next(iter(choices.values()))[0])
    for name, part in raw.items():
        _check_size(part, choices[name], size)
    rows: dict[str, SplitRows] = {}
    for name, part in raw.items():
        labels, labelled = _answers(part, choices[name], role_of(name))
        by_place = tuple(list(column) for column in zip(*choices[name], strict=True))
        rows[name] = ChoiceRows(part.texts, labels, labelled, by_place, part)
    return choice_names(size), rows


def _choices(raw: RawSplit, blank: bool) -> list[tuple[str, ...]]:
    """Return the choices of every row; `blank` ones may be among those of a published task."""
    faults, rows = raw.faults(), []
    for row, cells in enumerate(raw.choices):
        choices = cells[0] if len(cells) == 1 else list(cells)
        if not isinstance(choices, list):
            fact = f"its choices are not a list but {one_line(choices, 40)!r}"
            advice = "Write them as a list, or name a column for each with --choices-columns A,B,…"
            faults.add("list", *raw.place(row), fact, advice)
        elif any(not isinstance(text, str) or not (text.strip() or blank) for text in choices):
            faults.add("blank choice", *raw.place(row), "one of its choices is empty", "Fill it in, or remove the row")
        else:
            rows.append(tuple(str(text) for text in choices))
    faults.check()
    return rows


def _check_size(raw: RawSplit, choices: list[tuple[str, ...]], size: int) -> None:
    """Raise `BadRows` unless every row has `size` choices."""
    faults = raw.faults()
    for row, texts in enumerate(choices):
        if len(texts) != size:
            fact = f"has {len(texts)} choices, and the first training row has {size}"
            faults.add("size", *raw.place(row), fact, "Give every row as many, or remove the row")
    faults.check()
    if not 2 <= size <= MOST_CHOICES:
        place, number = raw.place(0)
        raise BadRows(f"{one_line(place)} {raw.unit} {number}: has {size} choices. Give 2 to {MOST_CHOICES}")


def _answers(raw: RawSplit, choices: list[tuple[str, ...]], role: str) -> tuple[np.ndarray, bool]:
    """Return the place of each row's right choice, and whether the split has answers: a test split may have none.

    All answers of a split are written in one way. Raises `BadRows` for others, and where two ways would differ.
    """
    answers = [label.strip() if isinstance(label, str) else label for label in raw.labels]
    if role == TEST and all(answer in NO_ANSWER for answer in answers):
        return np.full(len(raw), UNLABELLED, np.int64), False
    pairs = list(zip(answers, choices, strict=True))
    readings = {form: [read(answer, texts) for answer, texts in pairs] for form, read in ANSWER_FORMS.items()}
    form, places = min(readings.items(), key=lambda reading: reading[1].count(None))
    faults, size = raw.faults(), len(choices[0])
    advice = f"Write a number from 0 to {size - 1}, a letter from A to {choice_names(size)[-1]}, or the choice itself"
    for row, place in enumerate(places):
        if place is None:
            fact = f"the answer {one_line(answers[row], 40)!r} is none of its {size} choices" if answers[row] else ""
            faults.add("answer", *raw.place(row), fact or "no answer", advice if fact else "Fill it in")
    faults.check()
    for second_form, second_places in readings.items():
        if None not in second_places and second_places != places:
            row = next(row for row, (a, b) in enumerate(zip(places, second_places, strict=True)) if a != b)
            file, number = raw.place(row)
            raise BadRows(
                f"{one_line(file)} {raw.unit} {number}: the answer {one_line(answers[row], 40)!r} could be the {form} "
                f"or the {second_form} of a choice, and these differ. Write letters from A to {choice_names(size)[-1]}"
            )
    return np.array(places, np.int64), True


def _by_text(answer: Cell, choices: tuple[str, ...]) -> int | None:
    texts = [text.strip() for text in choices]
    return texts.index(answer) if isinstance(answer, str) and texts.count(answer) == 1 else None


def _by_letter(answer: Cell, choices: tuple[str, ...]) -> int | None:
    names = choice_names(len(choices))
    return names.index(answer.upper()) if isinstance(answer, str) and answer.upper() in names else None


def _by_number(answer: Cell, choices: tuple[str, ...]) -> int | None:
    numbers = [str(place) for place in range(len(choices))]
    return numbers.index(answer) if isinstance(answer, str) and answer in numbers else None


# Ways to write the right choice: name -> its place from the answer and the choices of a row, None for another answer.
ANSWER_FORMS: Mapping[str, Callable[[Cell, tuple[str, ...]], int | None]] = {
    "text": _by_text,
    "letter": _by_letter,
    "number": _by_number,
}
