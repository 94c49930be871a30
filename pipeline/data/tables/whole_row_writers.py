"""Whole rows written with more columns, as csv, jsonl or parquet."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from pipeline.data.tables.table_writers import ENDINGS
from pipeline.data.tables.whole_rows import Layout, WholeRows, csv_value
from pipeline.errors import BadOption, one_line

NewColumns = Mapping[str, Sequence[Any]]  # name -> a value for each row
Part = tuple[WholeRows, NewColumns]
GROUP_PARTS = 64  # written as one row group of a parquet file


def write_whole_rows(
    path: Path,
    ending: str,
    layout: Layout,
    new: Mapping[str, Any],
    parts: Iterable[Part],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write rows with new columns, whose pyarrow types are `new`; `metadata` is that of a parquet file.

    Raises OSError, and `BadOption` for a value that such a file cannot hold.
    """
    with _refusing(ending):
        if ending == ".parquet":
            _write_parquet(path, layout, new, iter(parts), metadata)
            return
        with path.open("w", encoding="utf-8", newline="") as file:
            (_write_csv if ending == ".csv" else _write_jsonl)(file, layout, new, parts)


def check_rows(rows: WholeRows, ending: str, remedy: str) -> None:
    """Raise `BadOption` for a value that a file of this ending cannot hold; one that ends in `remedy` can.

    Those of a parquet file are checked by `check_layout`.
    """
    with _refusing(ending, remedy):
        if ending == ".csv":
            for row in rows.tuples(rows.names):
                "".join(str(csv_value(value)) for value in row).encode()
        elif ending == ".jsonl":
            for row_object in rows.objects():
                json_line(row_object)


def check_layout(layout: Layout, ending: str, remedy: str) -> None:
    """Raise `BadOption` for a schema that a parquet file cannot have; a file that ends in `remedy` can."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    if ending == ".parquet":
        with _refusing(ending, remedy), ParquetWriter(pyarrow.BufferOutputStream(), layout.schema):
            pass


@contextmanager
def _refusing(ending: str, remedy: str | None = None) -> Iterator[None]:
    """Turn what is raised for a value that a file cannot hold into `BadOption`."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OverflowError, UnicodeError) as error:
        endings = remedy or " or ".join(name for name in ENDINGS if name != ending)
        raise BadOption(
            f"a value cannot be written to a {ending} file ({one_line(error, 120)}). Name a {endings} file"
        ) from error


def _write_csv(file: TextIO, layout: Layout, new: Mapping[str, Any], parts: Iterable[Part]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*layout.names, *new])
    for rows, columns in parts:
        for row, values in zip(rows.tuples(layout.names), zip(*columns.values(), strict=True), strict=True):
            writer.writerow([csv_value(value) for value in (*row, *values)])


def _write_jsonl(file: TextIO, layout: Layout, new: Mapping[str, Any], parts: Iterable[Part]) -> None:
    for rows, columns in parts:
        for row, values in zip(rows.objects(), zip(*columns.values(), strict=True), strict=True):
            file.write(json_line(row | dict(zip(columns, values, strict=True))))


def json_line(row: Mapping[str, Any]) -> str:
    """Return an object as a line; in ASCII where it holds half of a surrogate pair, which is not UTF-8."""
    line = json.dumps(row, ensure_ascii=False)
    return f"{line if line.isascii() or _is_text(line) else json.dumps(row)}\n"


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_parquet(path: Path, layout: Layout, new: Mapping[str, Any], parts: Iterator[Part], metadata: Any) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    fields = [*layout.schema, *(pyarrow.field(name, kind) for name, kind in new.items())]
    schema = pyarrow.schema(fields, metadata)
    with ParquetWriter(path, schema) as writer:
        while group := list(islice(parts, GROUP_PARTS)):
            batches = []
            for rows, columns in group:
                added = [pyarrow.array(values, new[name]) for name, values in columns.items()]
                batches.append(pyarrow.record_batch([*rows.arrays(layout.schema), *added], schema=schema))
            writer.write_table(pyarrow.Table.from_batches(batches))
