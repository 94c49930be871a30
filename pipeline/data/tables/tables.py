"""Row files: csv, tsv, jsonl and parquet. Only the named columns are read, and complaints have file and line."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.data.tables.cells import Cell, read_cells
from pipeline.data.tables.columns import Wanted, typed_name
from pipeline.data.tables.dataset_tables import is_saved_dataset, read_saved_dataset
from pipeline.data.tables.delimited import read_csv, read_tsv
from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import check_file, is_url, name_of, opened, suffix_of
from pipeline.data.tables.text_lines import lines
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
    return FORMATS[format_of(place)]


def format_of(place: str) -> str:
    """Return the suffix in FORMATS that the name of a file has. Raises `BadRows` for another one."""
    suffix = suffix_of(place)
    if suffix not in FORMATS:
        as_it_is = not is_url(place) and Path(place).suffix.lower() == suffix  # not compressed
        old, new = (place, str(Path(place).with_suffix(".jsonl"))) if as_it_is else ("FILE.json", "FILE.jsonl")
        advice = REMEDIES.get(suffix, "Convert it to one of these")
        advice = advice.format(old=shlex.quote(name_of(old)), new=shlex.quote(name_of(new)))
        raise BadRows(f"{name_of(place)}: files of rows end in {', '.join(FORMATS)}. {advice}")
    return suffix


def _jsonl(place: str, wanted: Wanted, faults: Faults) -> Iterator[Row]:
    return ((number, cells) for number, cells, _ in read_objects(place, wanted, faults))


def read_objects(place: str, wanted: Wanted, faults: Faults) -> Iterator[tuple[int, tuple[Cell, ...], dict[str, Any]]]:
    """Yield the line, the wanted cells and the whole object of each row of a jsonl file. Raises `BadRows`."""
    names, header = wanted.names, None
    expected, unseen = set(names), set(wanted.required)
    for number, line in enumerate(lines(place, faults), start=1):
        if line.isspace():
            continue
        original = _object(place, number, line, faults)
        if original is None:
            continue
        header = header or tuple(map(typed_name, original))
        row = original
        if not row.keys() >= expected:
            row = {typed_name(key): value for key, value in row.items()} | row
        if unseen:
            unseen.difference_update(row)
        if (cells := read_cells(place, number, wanted, tuple(map(row.get, names)), faults)) is not None:
            yield number, cells, original
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
        if isinstance(error, RecursionError):  # of any column, since the object is read as a whole
            fact, advice = "holds lists or objects nested too deeply to be read", "Leave that value out of this row"
            faults.add("nested", place, number, fact, advice)
            return None
        if not line.startswith("["):  # else the first line of one array
            reason = f"{error.msg}, character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
            faults.add("json", place, number, f"is not a JSON object ({one_line(reason)})")
            return None
        row = []
    if isinstance(row, dict):
        return row
    faults.add("object", place, number, "is not a JSON object", "Write each row as {...}, on a line of its own")
    return None


def _parquet(place: str, wanted: Wanted, faults: Faults) -> Iterator[Row]:
    with opened_parquet(place) as file:
        yield from _records(place, file, wanted, faults)


@contextmanager
def opened_parquet(place: str) -> Iterator[Any]:
    """Open a parquet file with pyarrow. Raises `BadRows` if it cannot be opened or read."""
    import pyarrow
    import pyarrow.parquet

    with opened(place) as stream:
        try:
            with pyarrow.parquet.ParquetFile(stream if is_url(place) else place) as file:
                yield file
        except (pyarrow.ArrowException, OSError) as error:
            reason = one_line(str(error).partition("\n")[0])
            raise BadRows(f"{name_of(place)}: could not be read as parquet ({reason}). Check the file") from error


def _records(place: str, file: Any, wanted: Wanted, faults: Faults) -> Iterator[Row]:
    done, header = 0, file.schema_arrow.names
    positions = wanted.positions(place, header)
    columns_read = [None if position is None else header[position] for position in positions]
    present = [name for name in columns_read if name is not None]
    for batch in file.iter_batches(BATCH_ROWS, columns=present):
        columns = [[None] * len(batch) if name is None else column_values(batch.column(name)) for name in columns_read]
        for number, values in enumerate(zip(*columns, strict=True), start=done + 1):
            if (cells := read_cells(place, number, wanted, values, faults)) is not None:
                yield number, cells
        done += len(batch)


def column_values(column: Any) -> list[object]:
    """Return a column of a batch as Python values; texts as bytes if one is not UTF-8, times as text if need be."""
    import pyarrow

    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return column.cast(pyarrow.large_binary()).to_pylist()
    except (ValueError, OverflowError):  # a time that Python's types cannot hold
        return column.cast(pyarrow.string()).to_pylist()


_TABLE = "Save the table with its rows as csv, in the program that wrote it"
_ARCHIVE = "Unpack it, and name the files of rows in it"
_COLUMNS = "Save it with to_parquet of pandas, polars or datasets"
REMEDIES = {  # for files that end otherwise
    "": "Let its name end in the one for what it holds",
    ".json": "If each of its lines is one object, let its name end in .jsonl. If it is one array of objects, write "
    'one per line: python -c "import json; [print(json.dumps(row)) for row in json.load(open(0))]" < {old} > {new}',
    ".ndjson": "It holds an object per line: let its name end in .jsonl",
    ".txt": "If tabs separate its columns, let its name end in .tsv, otherwise in .csv; a file of sentences without a "
    "header needs one first",
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), _TABLE),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".arrow", ".feather", ".pkl", ".orc", ".avro"), _COLUMNS),
}
REMEDIES |= {".tab": REMEDIES[".txt"], ".dat": REMEDIES[".txt"], ".jsonlines": REMEDIES[".ndjson"]}
FORMATS: Mapping[str, Reader] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
