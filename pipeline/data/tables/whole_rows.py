"""Whole rows of files, to be written again with more columns: values of every column as the file has them."""

import datetime
import decimal
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.data.tables.cells import Cell, read_cells
from pipeline.data.tables.columns import Wanted
from pipeline.data.tables.delimited import DelimitedTable, csv_table, tsv_table
from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import check_file
from pipeline.data.tables.tables import column_values, format_of, opened_parquet, read_objects

AS_TEXT = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)  # in csv and JSON


@dataclass(frozen=True)
class Layout:
    """The columns of some files: their names, and their pyarrow schema if it is needed."""

    names: tuple[str, ...]
    schema: Any = None


class OtherColumns(ValueError):
    """A file has other columns than the one before it."""


class WholeRows(Protocol):
    """Consecutive rows of one file with all their columns."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        ...

    def layout(self, earlier: Layout | None, typed: bool) -> Layout:
        """Return the columns of these rows and of `earlier` ones, `typed` with a schema.

        Raises `OtherColumns` for columns that differ, and what pyarrow raises for values without a common type.
        """
        ...

    def tuples(self, names: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Yield the values of each row in these columns, which are all columns of a file, in their order."""
        ...

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a JSON object."""
        ...

    def arrays(self, schema: Any) -> list[Any]:
        """Return the columns as pyarrow arrays of the types of a schema. Raises ArrowException."""
        ...


@dataclass(frozen=True)
class FieldRows:
    """Rows of a csv or tsv file: every value is text."""

    names: tuple[str, ...]
    rows: list[list[str]]

    def layout(self, earlier: Layout | None, typed: bool) -> Layout:
        """Return the columns of the header, which are alike in all files."""
        import pyarrow

        schema = pyarrow.schema([(name, pyarrow.string()) for name in self.names]) if typed else None
        return _same_layout(earlier, Layout(self.names, schema))

    def tuples(self, names: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Yield the fields of each row."""
        return iter(self.rows)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield each row as an object of texts."""
        return (dict(zip(self.names, row, strict=True)) for row in self.rows)

    def arrays(self, schema: Any) -> list[Any]:
        """Return columns of texts."""
        import pyarrow

        return [pyarrow.array([row[place] for row in self.rows], field.type) for place, field in enumerate(schema)]


@dataclass(frozen=True)
class ObjectRows:
    """Rows of a jsonl file: objects, each of which may lack some of the columns."""

    rows: list[dict[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of all objects, in the order in which they come up."""
        return tuple(dict.fromkeys(key for row in self.rows for key in row))

    def layout(self, earlier: Layout | None, typed: bool) -> Layout:
        """Return the keys of all objects, with types that hold all of their values."""
        names = tuple(dict.fromkeys((*(earlier.names if earlier else ()), *self.names)))
        if not typed:
            return Layout(names)
        import pyarrow

        arrays = {name: pyarrow.array([row.get(name) for row in self.rows]) for name in self.names}
        schemas = [pyarrow.schema([(name, array.type) for name, array in arrays.items()])]
        schemas += [earlier.schema] if earlier else []
        joined = pyarrow.unify_schemas(schemas[::-1], promote_options="permissive")
        return Layout(names, pyarrow.schema([joined.field(name) for name in names]))

    def tuples(self, names: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Yield the values of each object for these keys, None where it lacks one."""
        return ([row.get(name) for name in names] for row in self.rows)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield each object as JSON has it: NaN, which Python reads, is null."""
        return map(json_value, self.rows)

    def arrays(self, schema: Any) -> list[Any]:
        """Return a column for each field of the schema, null where an object lacks it."""
        import pyarrow

        return [pyarrow.array([row.get(field.name) for row in self.rows], field.type) for field in schema]


@dataclass(frozen=True)
class BatchRows:
    """Rows of a parquet file, as a record batch of pyarrow."""

    batch: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.batch.schema.names)

    def layout(self, earlier: Layout | None, typed: bool) -> Layout:
        """Return the schema of the file, which is alike in all files; what programs note in it is left out."""
        return _same_layout(earlier, Layout(self.names, self.batch.schema.remove_metadata()))

    def tuples(self, names: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Yield the values of each row."""
        return zip(*map(column_values, self.batch.columns), strict=True)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield each row as an object of what JSON can hold; dates and decimals are texts, NaN is null."""
        return (dict(zip(self.names, map(json_value, row), strict=True)) for row in self.tuples(self.names))

    def arrays(self, schema: Any) -> list[Any]:
        """Return the columns."""
        return list(self.batch.columns)


def _same_layout(earlier: Layout | None, later: Layout) -> Layout:
    if earlier is not None and earlier != later:
        raise OtherColumns("its columns are not those of the file before it")
    return later


def json_value(value: Any) -> Any:
    """Return a value of a row as JSON can hold it, with null for NaN.

    Raises UnicodeError for bytes that are not UTF-8 text, OverflowError for an infinite number.
    """
    if isinstance(value, AS_TEXT):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        raise OverflowError(f"{value} is not a number of JSON")
    return None if value != value else value


def csv_value(value: Any) -> Any:
    """Return a value as a csv field has it: nothing for null and NaN, JSON for lists and objects."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    value = json_value(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file: their numbers in it, their wanted cells, and the whole rows."""

    numbers: list[int]
    cells: list[tuple[Cell, ...]]
    rows: WholeRows

    def __len__(self) -> int:
        return len(self.numbers)


def read_chunks(place: str, wanted: Wanted, faults: Faults, size: int) -> Iterator[Chunk]:
    """Yield the rows of a file, `size` at a time, the rest at last. Faults are those of `read_table`.

    Raises `BadRows` for a file that is missing, cannot be read, or lacks a wanted column.
    """
    check_file(place)
    yield from READERS[format_of(place)](place, wanted, faults, size)


def _delimited(table: DelimitedTable | None, size: int) -> Iterator[Chunk]:
    if table is None:
        return
    names, positions = tuple(table.header), [place for place in table.positions if place is not None]
    for records in _grouped(table.records, size):
        cells: list[tuple[Cell, ...]] = [tuple(fields[place] for place in positions) for _, fields in records]
        yield Chunk([number for number, _ in records], cells, FieldRows(names, [fields for _, fields in records]))


def _jsonl(place: str, wanted: Wanted, faults: Faults, size: int) -> Iterator[Chunk]:
    for rows in _grouped(read_objects(place, wanted, faults), size):
        numbers, cells, objects = zip(*rows, strict=True)
        yield Chunk(list(numbers), list(cells), ObjectRows(list(objects)))


def _parquet(place: str, wanted: Wanted, faults: Faults, size: int) -> Iterator[Chunk]:
    with opened_parquet(place) as file:
        positions = [place for place in wanted.positions(place, file.schema_arrow.names) if place is not None]
        done = 0
        for batch in file.iter_batches(size):
            rows = zip(*(column_values(batch.column(position)) for position in positions), strict=True)
            read = [
                (number, cells)
                for number, values in enumerate(rows, start=done + 1)
                if (cells := read_cells(place, number, wanted, values, faults)) is not None
            ]
            done += len(batch)
            yield Chunk([number for number, _ in read], [cells for _, cells in read], BatchRows(batch))


def _grouped(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


READERS: Mapping[str, Callable[[str, Wanted, Faults, int], Iterator[Chunk]]] = {
    ".csv": lambda place, wanted, faults, size: _delimited(csv_table(place, wanted, faults), size),
    ".tsv": lambda place, wanted, faults, size: _delimited(tsv_table(place, wanted, faults), size),
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
