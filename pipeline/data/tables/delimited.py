"""Files of delimited fields: csv, and tsv with or without quotes."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from pipeline.data.tables.columns import Wanted
from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import name_of
from pipeline.data.tables.text_lines import lines
from pipeline.data.tables.tsv_quotes import is_quoted
from pipeline.errors import BadRows

DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}  # of csv files; the first that fits is taken
LONGEST_FIELD = 2**31 - 1  # documents are longer than the default of 128 KiB
Record = tuple[int, list[str]]  # number of its first line, fields
DelimitedRow = tuple[int, tuple[str | None, ...]]


@dataclass(frozen=True)
class DelimitedTable:
    """The header of a file, where the wanted columns are in it, and the records below it, of as many fields."""

    header: list[str]
    positions: list[int | None]
    records: Iterator[Record]


def csv_table(place: str, wanted: Wanted, faults: Faults) -> DelimitedTable | None:
    """Return a csv file, whatever separates its fields; None for an empty one. Raises `BadRows`."""
    delimiter = _delimiter(place, wanted)
    return _table(place, wanted, faults, _quoted_records(place, delimiter, faults), delimiter)


def tsv_table(place: str, wanted: Wanted, faults: Faults) -> DelimitedTable | None:
    """Return a tsv file; quotes are text unless the whole file is quoted as csv is. Raises `BadRows`."""
    quoted = is_quoted(place)
    records = _quoted_records(place, "\t", faults) if quoted else plain_records(place, faults)
    return _table(place, wanted, faults, records, "\t")


def read_csv(place: str, wanted: Wanted, faults: Faults) -> Iterator[DelimitedRow]:
    """Return the wanted cells of the rows of a csv file. Raises `BadRows`."""
    return _cells(csv_table(place, wanted, faults))


def read_tsv(place: str, wanted: Wanted, faults: Faults) -> Iterator[DelimitedRow]:
    """Return the wanted cells of the rows of a tsv file. Raises `BadRows`."""
    return _cells(tsv_table(place, wanted, faults))


def plain_records(place: str, faults: Faults) -> Iterator[Record]:
    """Yield the records of a tsv file in which quotes are text: one per line, as in the files of GLUE."""
    for number, line in enumerate(lines(place, faults), start=1):
        yield number, line.rstrip("\r\n").split("\t")


def _delimiter(place: str, wanted: Wanted) -> str:
    """Return what separates the fields: what yields the wanted columns, else a comma, unless it separates nothing."""
    headers = {}
    for delimiter in DELIMITERS:
        headers[delimiter] = _header(place, delimiter)
        if set(wanted.required) <= set(headers[delimiter]):
            return delimiter
    return "," if len(headers[","]) > 1 else max(headers, key=lambda delimiter: len(headers[delimiter]))


def _header(place: str, delimiter: str) -> list[str]:
    csv.field_size_limit(LONGEST_FIELD)
    try:
        return next(filter(None, csv.reader(lines(place, Faults()), delimiter=delimiter, strict=True)), [])
    except csv.Error:  # reported when the file is read
        return []


def _quoted_records(place: str, delimiter: str, faults: Faults) -> Iterator[Record]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(lines(place, faults), delimiter=delimiter, strict=True)
    start = 1
    while True:
        try:
            for fields in reader:
                yield start, fields
                start = reader.line_num + 1
            return
        except csv.Error as error:
            _add_csv_error(place, delimiter, (start, reader.line_num), error, faults)
            start = reader.line_num + 1


def _add_csv_error(place: str, delimiter: str, span: tuple[int, int], error: csv.Error, faults: Faults) -> None:
    """Count a record that could not be read. Raises `BadRows` where a quote has swallowed the lines after it."""
    start, end = span
    if "new-line" in str(error):
        advice = "Put the field in double quotes, or put a blank in place of the carriage return in this row"
        faults.add("carriage return", place, start, "has a carriage return inside a field without quotes", advice)
    elif start == end and "unexpected end" not in str(error):
        advice = 'Double the quotes inside a field ("a ""good"" film"), or fix this row'
        faults.add("quote", place, start, "a quoted field goes on after its closing quote", advice)
    else:
        faults.check()
        line = _opening_line(place, delimiter, start)
        raise BadRows(
            f"{name_of(place)} line {line}: a quote opens a field here and is not closed properly (seen in line "
            f"{end}). "
            'Close it, or write quotes that are text as "a ""good"" film" in double quotes'
        )


def _opening_line(place: str, delimiter: str, start: int) -> int:
    """Return the line of the quote whose field, in the record that begins at line `start`, is not closed properly."""
    opening, inside, at_start = start, False, True
    for number, line in enumerate(lines(place, Faults()), start=1):
        if number < start:
            continue
        letters = iter(zip(line, [*line[1:], "\n"], strict=True))
        for letter, following in letters:
            if inside and letter == '"' == following:
                next(letters)
            elif inside and letter == '"':
                inside = False
                if following not in (delimiter, "\r", "\n"):
                    return opening
            elif at_start and letter == '"':
                opening, inside = number, True
            at_start = not inside and letter in (delimiter, "\n")
    return opening


def _table(
    place: str, wanted: Wanted, faults: Faults, records: Iterator[Record], delimiter: str
) -> DelimitedTable | None:
    """Return the header that is found in these records, and the records below it."""
    filled = ((number, fields) for number, fields in records if fields not in ([], [""]))
    first = next(filled, None)
    if first is None:
        return None
    header = first[1]
    if len(header) == 1 and delimiter == "\t" and "," in header[0]:
        wanted.check(place, header, "Its header has commas, not tabs: rename it to .csv")
    return DelimitedTable(
        header, wanted.positions(place, header), _of_one_width(place, header, filled, delimiter, faults)
    )


def _of_one_width(
    place: str, header: list[str], records: Iterator[Record], delimiter: str, faults: Faults
) -> Iterator[Record]:
    """Yield the records that have as many fields as the header; the others are faults."""
    named = max((index for index, name in enumerate(header) if name.strip()), default=-1) + 1
    for number, fields in records:
        if len(fields) != len(header):
            if len(fields) < named or any(fields[len(header) :]):
                _add_count(place, number, fields, header, delimiter, faults)
                continue
            # empty columns without a name, as spreadsheets write them
            fields = fields[: len(header)] + [""] * (len(header) - len(fields))
        yield number, fields


def _cells(table: DelimitedTable | None) -> Iterator[DelimitedRow]:
    """Yield the wanted cells of the records of a table."""
    if table is not None:
        cells = _getter(table.positions)
        for number, fields in table.records:
            yield number, cells(fields)


def _getter(positions: Sequence[int | None]) -> Callable[[list[str]], tuple[str | None, ...]]:
    """Return what takes the cells at these positions from a record; a position of None gives null."""
    if None in positions:
        return lambda fields: tuple(None if position is None else fields[position] for position in positions)
    if len(positions) == 1:
        return lambda fields: (fields[positions[0]],)  # type: ignore[index]
    return itemgetter(*positions)


def _add_count(place: str, number: int, fields: list[str], header: list[str], delimiter: str, faults: Faults) -> None:
    """Count a row with another number of fields than the header."""
    fact, advice = f"has {len(fields)} fields, not {len(header)}", "Fix this row"
    if any("\n" in field for field in fields):
        fact += ", one of them over several lines, so a quote may be left open"
    elif len(fields) > len(header) and delimiter != "\t":
        advice = f"Put texts that hold {DELIMITERS[delimiter]} in double quotes, or fix this row"
    faults.add("fields", place, number, fact, advice)
