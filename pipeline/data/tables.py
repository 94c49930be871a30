"""Strict reading of row files: csv, tsv, jsonl and parquet. Every complaint names the file and the line."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import BadRows

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
Row = tuple[int, dict[str, str]]  # line number (record number in parquet), column -> text


def read_table(path: Path, *, header: bool = True, skip_broken: bool = False) -> Iterator[Row]:
    """Yield the rows of a file. Without a header the columns are called "0", "1", ….

    Raises `BadRows` for a file that is missing, not text, or has a row with another number of fields than its
    header; with `skip_broken` such rows are skipped instead (some published files have a few).
    """
    if path.suffix not in SUFFIXES:
        raise BadRows(f"{path}: files of rows end in {', '.join(SUFFIXES)}. Convert it, or rename it")
    if not path.is_file():
        raise BadRows(f"{path}: there is no such file. Check the name")
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".jsonl":
        yield from _jsonl(path)
    else:
        yield from _delimited(path, header, skip_broken)


def _lines(path: Path) -> Iterator[str]:
    r"""Yield lines ended by \n only: sentences may contain the other line ends of Unicode."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for line in file:
                if "\0" in line:
                    raise BadRows(f"{path}: is not a text file (it has zero bytes). Give rows as UTF-8 text")
                yield line
    except UnicodeDecodeError as error:
        raise BadRows(f"{path}: is not UTF-8 text ({error.reason}). Convert it to UTF-8") from error


def _fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    if path.suffix == ".tsv":  # GLUE's dialect: quotes are text
        for number, line in enumerate(_lines(path), start=1):
            yield number, line.rstrip("\r\n").split("\t")
        return
    csv.field_size_limit(2**31 - 1)  # documents are longer than the default of 128 KiB
    reader = csv.reader(_lines(path), strict=True)
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        raise BadRows(f"{path} line {reader.line_num}: could not be read ({error}). Fix this row") from error


def _delimited(path: Path, header: bool, skip_broken: bool) -> Iterator[Row]:
    rows = _fields(path)
    columns: list[str] = []
    for number, fields in rows:
        if fields in ([], [""]):  # a blank line; a row of empty fields is a row
            continue
        if not columns:
            columns = fields if header else [str(index) for index in range(len(fields))]
            if len(set(columns)) < len(columns):
                raise BadRows(f"{path}: two columns have the same name in {', '.join(columns)}. Rename one")
            if header:
                continue
        if len(fields) == len(columns):
            yield number, dict(zip(columns, fields, strict=True))
        elif not skip_broken:
            raise BadRows(f"{path} line {number}: has {len(fields)} fields, not {len(columns)}. Fix this row")


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadRows(f"{path} line {number}: is not a JSON object ({error}). Fix this row") from error
        if not isinstance(row, dict):
            raise BadRows(f"{path} line {number}: is not a JSON object. Write each row as {{...}}")
        yield number, _texts(path, number, row)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        records = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise BadRows(f"{path}: could not be read as parquet ({reason}). Check the file") from error
    for number, row in enumerate(records, start=1):
        yield number, _texts(path, number, row)


def _texts(path: Path, number: int, row: dict[str, object]) -> dict[str, str]:
    try:
        return {name: _text(name, value) for name, value in row.items()}
    except ValueError as error:
        raise BadRows(f"{path} line {number}: {error}. Fix this row") from error


def _text(name: str, value: object) -> str:
    """Return the text of a cell. Raises ValueError for a value that is neither text nor a finite number."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():  # a class read from a column that also holds nulls
        return str(int(value))
    if not isinstance(value, str | int) and not (isinstance(value, float) and math.isfinite(value)):
        raise ValueError(f"{name} is not text but {value!r:.40}")
    text = str(value)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{name} contains half of a surrogate pair, which is not text")
    return text
