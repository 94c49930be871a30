"""Quotes in tsv files: text, as in the files of GLUE, or around fields, as spreadsheets and data frames write them."""

import re
from collections.abc import Iterator

from pipeline.data.faults import Faults
from pipeline.data.places import opened, shown
from pipeline.data.text_lines import lines
from pipeline.errors import BadRows

CHUNK = 2**20  # bytes
LONGEST_RECORD = 2**20  # characters of a record that goes on over several lines
_INSIDE = r'[^"]*(?:""[^"]*)*'
_FIELD = rf'(?:"{_INSIDE}"|[^"\t]*)'
_RECORD = re.compile(rf"{_FIELD}(?:\t{_FIELD})*")
_OPEN_RECORD = re.compile(rf'(?:{_FIELD}\t)*"{_INSIDE}')  # its last field goes on in the next line
_ALL_QUOTED = re.compile(rf'"{_INSIDE}"(?:\t"{_INSIDE}")*')
_TELLING = re.compile(rf'(?:^|\t)"(?={_INSIDE}"(?:\t|$))[^"]*(?:""|\t|\n)')  # a field that only quoting explains


def is_quoted(place: str) -> bool:
    """Return whether the fields of a tsv file are quoted as in csv: "a ""good"" film".

    They are where the header is quoted, or a field holds doubled quotes, a tab or a line end, and no field speaks
    against it. Raises `BadRows` for a file in which some fields do and some are not.
    """
    if not _has_quotes(place):
        return False
    telling = plain = 0  # the first lines of a field that only quoting explains, and of one that it does not
    for number, record in _records(place):
        if not _RECORD.fullmatch(record):
            plain = plain or number
        elif _TELLING.search(record) or (number == 1 and _ALL_QUOTED.fullmatch(record)):
            telling = telling or number
        if telling and plain:
            raise BadRows(
                f"{shown(place)}: line {telling} quotes its fields as csv does, but in line {plain} quotes are text. "
                "Save the file as .csv or .jsonl"
            )
    return telling > 0


def _records(place: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the records with quotes, several lines as one where a quoted field goes on."""
    pending: list[str] = []
    start = 0
    for number, line in enumerate(lines(place, Faults()), start=1):
        if '"' not in line:
            if pending:
                pending.append(line)
            continue
        if not pending:
            start = number
        record = "".join([*pending, line]).rstrip("\r\n")
        if len(record) < LONGEST_RECORD and _OPEN_RECORD.fullmatch(record):
            pending.append(line)
        elif not pending or _RECORD.fullmatch(record):
            yield start, record
            pending = []
        else:  # the quote was text, so each line stands alone
            yield start, pending[0].rstrip("\r\n")
            yield number, line.rstrip("\r\n")
            pending = []
    if pending:
        yield start, pending[0].rstrip("\r\n")


def _has_quotes(place: str) -> bool:
    with opened(place) as file:
        return any(b'"' in chunk for chunk in iter(lambda: file.read(CHUNK), b""))
