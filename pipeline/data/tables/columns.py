"""Columns of row files: finding those that options name among all others, whatever these hold."""

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.tables.places import name_of
from pipeline.errors import BadRows, one_line

NAMED_COLUMNS = 10  # in a message
LONGEST_NAME = 40  # characters of a column's name in a message
LONGEST_KEPT = 1000  # characters of a name that can be given with an option
SEARCHED = 100_000  # columns among which similar names are looked for


@dataclass(frozen=True)
class Wanted:
    """The columns to read, in this order: `required` ones, then `optional` ones, null where a file lacks them."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    official: bool = False  # of a published file: the options do not name its columns
    choices: tuple[str, ...] = ()  # those among them that --choices-columns names
    targets: tuple[str, ...] = ()  # those among them that --target-columns names: their cells are read as they are
    text_options: str = "--text-columns and --label-column"  # that name the others

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.required + self.optional

    def positions(self, place: str, header: Sequence[str]) -> list[int | None]:
        """Return where each column is in a header. Raises `BadRows` for one that is missing or there twice.

        Other white space in a name of the header, as line ends, does not count, unless an option has it too.
        """
        header = [name if name in self.names else typed_name(name) for name in header]
        self.check(place, header)
        for name in self.names:
            if header.count(name) > 1:
                raise BadRows(f"{name_of(place)}: two columns have the same name, {one_line(name)}. Rename one")
        return [header.index(name) if name in header else None for name in self.names]

    def check(self, place: str, header: Sequence[str], hint: str = "") -> None:
        """Raise `BadRows` unless the header has all required columns; `hint` takes the place of the advice."""
        for name in self.required:
            if name not in header:
                options = "--choices-columns" if name in self.choices else self.text_options
                options = "--target-columns" if name in self.targets else options
                advice = f"Name one of these with {options}"
                if any("," in column for column in header[:SEARCHED]):
                    advice += """, one with a comma in double quotes: '"A, B",C'"""
                advice = hint or ("Use the official file" if self.official else advice)
                raise BadRows(
                    f"{name_of(place)}: has no column {one_line(repr(name))}; {_listed(name, header)}. {advice}"
                )


def parse_columns(option: str) -> tuple[str, ...]:
    """Return the names of columns in an option: A,B; a name with a comma is in double quotes."""
    try:
        return tuple(next(csv.reader([option], strict=True), ()) if '"' in option else option.split(","))
    except csv.Error:  # the quotes are part of a name
        return tuple(option.split(","))


def typed_name(name: str) -> str:
    """Return the name of a column as messages have it, so that it can be typed: on one line."""
    return one_line(name, LONGEST_KEPT)


def _listed(name: str, header: Sequence[str]) -> str:
    """Return the names of a header in words, the nearest to `name` first, the others counted."""
    small = {column.lower(): column for column in reversed(header[:SEARCHED])}
    similar = [small[match] for match in difflib.get_close_matches(name.lower(), small, 3)]
    names = list(dict.fromkeys([*similar, *header[: 2 * NAMED_COLUMNS]]))
    shortened = ", ".join(one_line(column, LONGEST_NAME) for column in names[:NAMED_COLUMNS])
    if len(header) <= NAMED_COLUMNS:
        return f"its columns are {shortened}"
    return f"its {len(header):,} columns are {shortened}, …"
