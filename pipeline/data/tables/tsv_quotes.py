"""Quotes in tsv files: text, as in the files of GLUE, or around fields, as spreadsheets and data frames write them."""

import re
from collections.abc import Iterator

from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import name_of, opened
from pipeline.data.tables.text_lines import lines
from pipeline.errors import BadRows

CHUNK = 2**20  # bytes
LONGEST_RECORD = 2**20  # characters of a record that goes on over several lines
_INSIDE = r'[^"]*(?:""[^"]*)*'
_FIELD = rf'(?:"{_INSIDE}"|[^"\t]*)'
_RECORD = re.compile(rf"{_FIELD}(?:\t{_FIELD})*")
_OPEN_RECORD = re.compile(rf'(?:{_FIELD}\t)*"{_INSIDE}')  # its last field goes on in the next line
_QUOTED = re.compile(rf'"({_INSIDE})"')


def is_quoted(place: str) -> bool:
    """Return whether the fields of a tsv file are quoted as in csv: "a ""good"" film".

    They are where all names of the header are quoted, or a field holds doubled quotes, a tab or a line end, and no
    field speaks against it. Raises `BadRows` for a file in which some fields do and some do not.
    """
    if not _has_quotes(place):
        return False
    quoted = plain = 0  # the first record with quotes around fields, and the first in which they are text
    width = 0  # fields of the header
    for number, record in _records(place):
        as_quoted = _QUOTED.sub("", record).count("\t") + 1 if _RECORD.fullmatch(record) else 0
        as_plain = 0 if "\n" in record else record.count("\t") + 1
        if not width:
            width = as_quoted or as_plain
            is_telling = len(_QUOTED.findall(record)) == width
        else:
            is_telling = as_plain != width or any('""' in inside for inside in _QUOTED.findall(record))
        if as_quoted == width and is_telling:
            quoted = quoted or number
        elif as_quoted != width == as_plain:
            plain = plain or number
        if quoted and plain:
            raise BadRows(
                f"{name_of(place)}: line {quoted} quotes its fields as csv does, but in line {plain} quotes are text. "
                "Save the file as .csv or .jsonl"
            )
    return quoted > 0


def _records(place: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the header and of the records with quotes.

    Several lines are one record where a quoted field goes on.
    """
    pending: list[str] = []
    start = 0
    is_header = True
    for number, line in enumerate(lines(place, Faults()), start=1):
        if '"' not in line and not (is_header and line.strip("\r\n")):
            if pending:
                pending.append(line)
            continue
        if not pending:
            start = number
        is_header = False
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
