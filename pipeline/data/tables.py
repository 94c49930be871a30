"""Row files: csv, tsv, jsonl and parquet. Only the named columns are read, and complaints have file and line."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.data.cells import Cell, read_cells
from pipeline.data.columns import Wanted
from pipeline.data.dataset_tables import is_saved_dataset, read_saved_dataset
from pipeline.data.delimited import read_csv, read_tsv
from pipeline.data.faults import Faults
from pipeline.data.places import check_file, is_url, name_of, opened, suffix_of
from pipeline.data.text_lines import lines
from pipeline.errors import BadRows, one_line

BATCH_ROWS = 4096  # of a parquet file
Row = tuple[int, tuple[Cell, ...]]  # line number (record number in parquet), a cell for each wanted column
Reader = Callable[[str, Wanted, Faults], Iterator[Row]]


def read_table(place: str, wanted: Wanted, faults: Faults | None = None) -> Iterator[Row]:
    """Yield the rows of a file: a path or URL, also of a compressed file; or a data set that was saved to disk.

    Rows that cannot be read are left out and added to `faults`, for which the caller checks after the last row; without
    `faults` they are raised then. Raises `BadRows` for a file that is missing, is not text, or lacks a required column.
    """
    collected = Faults() if faults is None else faults
    if is_saved_dataset(place):
        yield from read_saved_dataset(place, wanted, collected)
    else:
        check_file(place)
        yield from _format(place)(place, wanted, collected)
    if faults is None:
        collected.check()


def _format(place: str) -> Reader:
    suffix = suffix_of(place)
    if suffix not in FORMATS:
        raise BadRows(f"{name_of(place)}: files of rows end in {', '.join(FORMATS)}. Convert it, or rename it")
    return FORMATS[suffix]


def _jsonl(place: str, wanted: Wanted, faults: Faults) -> Iterator[Row]:
    names, header = wanted.names, None
    unseen = set(wanted.required)
    for number, line in enumerate(lines(place, faults), start=1):
        if line.isspace():
            continue
        row = _object(place, number, line, faults)
        if row is None:
            continue
        header = header or tuple(row)
        if unseen:
            unseen.difference_update(row)
        if (cells := read_cells(place, number, wanted, tuple(map(row.get, names)), faults)) is not None:
            yield number, cells
    if unseen and header is not None:  # a row may leave a key out, not all of them
        faults.check()
        wanted.check(place, [*header, *(name for name in wanted.required if name not in unseen)])


def _object(place: str, number: int, line: str, faults: Faults) -> dict[str, Any] | None:
    try:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            raise
        except ValueError:  # a whole number of more digits than Python converts, in any column
            row = json.loads(line, parse_int=str)
    except (ValueError, RecursionError) as error:
        if not line.startswith("[") or isinstance(error, RecursionError):  # else the first line of one array
            reason = f"{error.msg}, character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
            faults.add("json", place, number, f"is not a JSON object ({one_line(reason)})")
            return None
        row = []
    if isinstance(row, dict):
        return row
    faults.add("object", place, number, "is not a JSON object", "Write each row as {...}, on a line of its own")
    return None


def _parquet(place: str, wanted: Wanted, faults: Faults) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    with opened(place) as stream:
        try:
            with pyarrow.parquet.ParquetFile(stream if is_url(place) else place) as file:
                yield from _records(place, file, wanted, faults)
        except (pyarrow.ArrowException, OSError) as error:
            reason = one_line(str(error).partition("\n")[0])
            raise BadRows(f"{name_of(place)}: could not be read as parquet ({reason}). Check the file") from error


def _records(place: str, file: Any, wanted: Wanted, faults: Faults) -> Iterator[Row]:
    names, done = wanted.names, 0
    positions = wanted.positions(place, file.schema_arrow.names)
    present = [name for name, position in zip(names, positions, strict=True) if position is not None]
    for batch in file.iter_batches(BATCH_ROWS, columns=present):
        columns = [_values(batch.column(name)) if name in present else [None] * len(batch) for name in names]
        for number, values in enumerate(zip(*columns, strict=True), start=done + 1):
            if (cells := read_cells(place, number, wanted, values, faults)) is not None:
                yield number, cells
        done += len(batch)


def _values(column: Any) -> list[object]:
    """Return a column of a batch as Python values; texts as bytes if one is not UTF-8, times as text if need be."""
    import pyarrow

    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return column.cast(pyarrow.large_binary()).to_pylist()
    except (ValueError, OverflowError):  # a time that Python's types cannot hold
        return column.cast(pyarrow.string()).to_pylist()


FORMATS: Mapping[str, Reader] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
