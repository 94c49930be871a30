"""Rows as lines of a stream: read as they come, so that what is there is predicted without waiting for more."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from pipeline.data.rows.raw_rows import Gathering
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.cells import spelled, spelled_choices
from pipeline.data.tables.whole_rows import json_value
from pipeline.errors import BadRows, one_line
from pipeline.inference.input_rows import as_rows
from pipeline.inference.predictor import Predictor

STREAM = "stdin"
READ_BYTES = 2**16


def batches_of_lines(stream: BinaryIO, size: int) -> Iterator[list[tuple[int, bytes]]]:
    """Yield (number, line) of the lines that are there, at most `size` at a time; wait only where there is none."""
    pending, number = b"", 0
    while True:
        data = stream.read1(READ_BYTES)  # type: ignore[attr-defined]  # what a pipe has, not all that was asked for
        *lines, pending = (pending + data).split(b"\n")
        if not data and pending:
            lines, pending = [pending], b""
        numbered = list(enumerate(lines, start=number + 1))
        number += len(lines)
        yield from (numbered[start : start + size] for start in range(0, len(numbered), size))
        if not data:
            return


def read_lines(lines: list[tuple[int, bytes]], predictor: Predictor) -> tuple[list[dict[str, Any]], SplitRows]:
    """Return the rows in some lines: as objects to be written again, and as the model reads them.

    A line is a text; or, of several columns, their texts separated by tabs or in a JSON list; or a JSON object of
    columns. Raises `BadRows` that names the line.
    """
    gathering = Gathering(predictor.text_columns, predictor.choices_columns)
    gathering.begin(STREAM)
    objects = []
    for number, line in lines:
        row = _row(number, line, predictor)
        cells = [_cell(number, name, row, predictor) for name in (*predictor.text_columns, *predictor.choices_columns)]
        gathering.add((number, (*cells, None)))
        try:
            objects.append(json_value(row))
        except OverflowError as error:
            raise BadRows(f"{STREAM} line {number}: {error}. Fix this line") from error
    gathering.check()
    return objects, as_rows(predictor, gathering.taken())


def _row(number: int, line: bytes, predictor: Predictor) -> dict[str, Any]:
    """Return a line as an object of columns."""
    columns = (*predictor.text_columns, *predictor.choices_columns)
    try:
        text = line.decode().removesuffix("\r")
    except UnicodeDecodeError as error:
        raise BadRows(f"{STREAM} line {number}: is not UTF-8 text. Convert it with iconv -t UTF-8") from error
    value = _json(text)
    if isinstance(value, dict) and set(value) >= set(columns):
        return value
    if len(columns) == 1:
        return {columns[0]: text}
    fields = value if isinstance(value, list) else text.split("\t")
    if len(fields) == len(columns):
        return dict(zip(columns, fields, strict=True))
    raise BadRows(
        f"{STREAM} line {number}: has {len(fields)} of the {len(columns)} columns {one_line(', '.join(columns))}. "
        "Separate them by a tab, or write them as a JSON object"
    )


def _json(text: str) -> Any:
    """Return the value of a text that is a JSON object or list; None for another text."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _cell(number: int, name: str, row: dict[str, Any], predictor: Predictor) -> Any:
    try:
        return (spelled_choices if name in predictor.choices_columns else spelled)(row[name])
    except ValueError as error:
        raise BadRows(f"{STREAM} line {number}: {one_line(name, 40)} {one_line(error)}. Fix this line") from error
