"""Answers to questions with choices: the ways to write them, and which choice each of them means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.data.kinds.multiple_choice import choice_names
from pipeline.data.kinds.task_kind import UNLABELLED
from pipeline.data.labels.label_names import rename_option
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.tables.cells import Cell
from pipeline.errors import BadRows, one_line

NO_ANSWER = (None, "", str(UNLABELLED))  # how test rows without an answer are written


@dataclass(frozen=True)
class Choices:
    """The choices of a question: S texts, and S labels where the rows have labels beside the texts."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """The answers of a split, and for each way to write them the choice that each answer means, None for no choice."""

    raw: RawSplit
    choices: list[Choices]
    cells: list[Cell]
    readings: Mapping[str, list[int | None]]

    @classmethod
    def read(cls, raw: RawSplit, choices: list[Choices]) -> "Answers":
        """Read the answers of a split in every way."""
        cells = [cell.strip() if isinstance(cell, str) else cell for cell in raw.labels]
        pairs = list(zip(cells, choices, strict=True))
        return cls(raw, choices, cells, {form: [read(*pair) for pair in pairs] for form, read in ANSWER_FORMS.items()})

    @property
    def are_missing(self) -> bool:
        """Whether there is no answer in any row."""
        return all(cell in NO_ANSWER for cell in self.cells)

    def count_numbers(self, size: int) -> bool:
        """Return whether numbers from 0 or from 1 explain more answers than any other way to write them."""
        names = [str(number) for number in range(size + 1)]
        numbers = sum(cell in names for cell in self.cells)
        readings = (places for form, places in self.readings.items() if form != "number")
        return numbers > max(len(places) - places.count(None) for places in readings)

    def places(self, size: int) -> list[int]:
        """Return the place of each row's right choice: all answers of a split are written in one way.

        Raises `BadRows` for answers that mean no choice, and where two ways to read them would differ.
        """
        form, places = min(self.readings.items(), key=lambda reading: reading[1].count(None))
        faults = self.raw.faults()
        for row, place in enumerate(places):
            if place is None:
                kind, fact, advice = self._fault(row, form, size)
                faults.add(kind, *self.raw.place(row), fact, advice)
        faults.check()
        for second_form, second_places in self.readings.items():
            if form != "label" and None not in second_places and second_places != places:
                row = next(row for row, (a, b) in enumerate(zip(places, second_places, strict=True)) if a != b)
                file, number = self.raw.place(row)
                answer = one_line(self.cells[row], 40)
                raise BadRows(
                    f"{one_line(file)} {self.raw.unit} {number}: the answer {answer!r} could be the {form} or the "
                    f"{second_form} of a choice, and these differ. Write letters from A to {choice_names(size)[-1]}"
                )
        return [place for place in places if place is not None]

    def _fault(self, row: int, form: str, size: int) -> tuple[str, str, str]:
        """Return kind, fact and advice for an answer that means no choice in the way of most answers."""
        cell, choices = self.cells[row], self.choices[row]
        if not cell:
            return "answer", "no answer", "Fill it in"
        answer, letters = f"the answer {one_line(cell, 40)!r}", f"from A to {choice_names(size)[-1]}"
        for name, values in (("label", choices.labels), ("text", [text.strip() for text in choices.texts])):
            if (count := sum(value == cell for value in values)) > 1:
                advice = f"Make them differ, or write all answers as letters {letters}"
                return f"repeated {name}", f"{answer} is the {name} of {count} of its {size} choices", advice
        ways = f"a number from 0 to {size - 1}, a letter {letters}, or the choice itself"
        if choices.labels:
            ways = f"the label of a choice, as {one_line(', '.join(choices.labels), 60)}"
        second_form = next((name for name, places in self.readings.items() if places[row] is not None), None)
        if second_form:
            mixed = f"{second_form}s and {form}s are mixed"
            fact = f"{answer} is the {second_form} of a choice, and others are {form}s: {mixed}"
            return mixed, fact, f"Write all answers in one way: {ways}"
        return "answer", f"{answer} is none of its {size} choices", f"Write {ways}"


def check_first_number(splits: Sequence[Answers], size: int, renames: str | None, accepted: bool) -> None:
    """Raise `BadRows` where answers are numbers that count from 1, or may do so: none of them is 0, in any split.

    What may be is not asked where --yes has `accepted` the numbers.
    """
    numbers = [answers for answers in splits if answers.count_numbers(size)]
    rows = [(answers.raw, row, cell) for answers in numbers for row, cell in enumerate(answers.cells)]
    given = {cell for _, _, cell in rows if isinstance(cell, str)}
    largest = str(size) in given
    if not rows or "0" in given or (accepted and not largest):
        return
    raw, row, _ = next(entry for entry in rows if entry[2] == (str(size) if largest else entry[2]))
    file, number = raw.place(row)
    place = f"{one_line(file)} {raw.unit} {number}"
    remedy = _letters_for(numbers, size) if not renames else ""
    remedy = f"add {remedy}" if remedy else f"write letters from A to {choice_names(size)[-1]}"
    if largest:
        raise BadRows(
            f"{place}: the answers count from 1 ({size} is one of them, 0 is not), and numbers count from 0 here. "
            f"{remedy[0].upper()}{remedy[1:]}"
        )
    raise BadRows(
        f"{place}: no answer of any row is 0, so the answers may count from 1. If they do, {remedy}; if they count "
        "from 0, add --yes"
    )


def _letters_for(numbers: Sequence[Answers], size: int) -> str:
    """Return the option that turns numbers from 1 into letters."""
    letters = dict(zip(map(str, range(1, size + 1)), choice_names(size), strict=True))
    written = {str(label) for answers in numbers for label in answers.raw.labels if isinstance(label, str)}
    in_order = sorted((label for label in written if label.strip() in letters), key=lambda label: int(label))
    return rename_option({label: letters[label.strip()] for label in in_order})


def _by_label(answer: Cell, choices: Choices) -> int | None:
    return _only(answer, choices.labels)


def _by_text(answer: Cell, choices: Choices) -> int | None:
    return _only(answer, [text.strip() for text in choices.texts])


def _by_letter(answer: Cell, choices: Choices) -> int | None:
    return _only(answer.upper(), choice_names(len(choices.texts))) if isinstance(answer, str) else None


def _by_number(answer: Cell, choices: Choices) -> int | None:
    return _only(answer, [str(place) for place in range(len(choices.texts))])


def _only(answer: Cell, names: Sequence[str]) -> int | None:
    """Return the place of an answer among the names of the choices, None if it is not there once."""
    return names.index(answer) if isinstance(answer, str) and names.count(answer) == 1 else None


# Ways to write the right choice: name -> its place from the answer and the choices of a row, None for another answer.
# Labels that rows give to their choices decide before all others.
ANSWER_FORMS: Mapping[str, Callable[[Cell, Choices], int | None]] = {
    "label": _by_label,
    "text": _by_text,
    "letter": _by_letter,
    "number": _by_number,
}
