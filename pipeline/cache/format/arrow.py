"""Shards as Arrow IPC files: uncompressed, one record batch, read in place.

pyarrow writes the files and reads their schema. The position of each column is read from the record batch's own
metadata (a flatbuffer: Arrow's Message.fbs), so that nothing of a foreign file is decoded or allocated before every
number in it has been compared with the manifest.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.cache.format.columns import ColumnType
from pipeline.data.ragged import Column, Ragged
from pipeline.data.splits import ROW_HASH_BYTES
from pipeline.errors import one_line

# Most bytes of metadata: pyarrow decodes the footer before it can be compared.
_FIXED_BYTES, _BYTES_PER_COLUMN = 4096, 1024
_MAGIC, _CONTINUATION = b"ARROW1", b"\xff\xff\xff\xff"


def write(path: Path, columns: Mapping[str, Column]) -> None:
    """Write columns as an Arrow file of one record batch. Raises OSError."""
    arrays = [to_arrow(column) for column in columns.values()]
    batch = pa.record_batch(arrays, names=list(columns))
    with pa.OSFile(os.fsencode(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def layout(path: Path, types: Mapping[str, ColumnType], rows: int) -> dict[str, tuple[int, int]]:
    """Return {part: (offset, bytes)} of the file. Raises ValueError, struct.error, StopIteration or OSError."""
    size = path.stat().st_size
    start, metadata = _record_batch(path, size, _FIXED_BYTES + _BYTES_PER_COLUMN * len(types))
    _check_schema(path, types)
    message = _Table.root(metadata)
    batch = message.table(2)
    if message.scalar(1, "<B") != 3 or batch.scalar(0, "<q") != rows or batch.field(3):
        raise ValueError(f"not a record batch of {rows} rows without compression")
    buffers = iter(batch.pairs(2))
    nodes = iter(batch.pairs(1))
    positions = {}
    for name, column_type in types.items():
        for kind, length in _arrays(column_type, rows):
            count, nulls = next(nodes)
            if nulls or (length is not None and count != length):
                raise ValueError(f"column {name} has nulls or {count} values")
            _, validity = next(buffers)
            if validity:
                raise ValueError(f"column {name} has a validity bitmap")
            if kind:
                offset, length_in_bytes = next(buffers)
                part = name if kind == "fixed" else f"{name}/{kind}"
                itemsize = 8 if kind == "offsets" else np.dtype(column_type.dtype).itemsize
                width = column_type.width or 1
                exact = (rows * width if kind == "fixed" else count + (kind == "offsets")) * itemsize
                if not exact <= length_in_bytes < exact + 64 or offset < 0 or start + offset + exact > size:
                    raise ValueError(f"column {name} ends after the file")
                positions[part] = (start + offset, exact)
    if next(nodes, None) or next(buffers, None):
        raise ValueError("more buffers than columns")
    return positions


def _check_schema(path: Path, types: Mapping[str, ColumnType]) -> None:
    """Raise ValueError unless the file has one record batch of these columns."""
    try:
        with pa.OSFile(os.fsencode(path)) as file, pa.ipc.open_file(file) as reader:
            if not reader.schema.equals(_schema(types), check_metadata=True):
                columns = ", ".join(f"{field.name} {field.type}" for field in reader.schema)
                raise ValueError(f"its columns are not those of the manifest but {columns}")
            if reader.num_record_batches != 1:
                raise ValueError(f"{reader.num_record_batches} record batches, not 1")
    except (pa.ArrowMemoryError, pa.ArrowCancelled):
        raise
    except pa.ArrowException as error:
        raise ValueError(one_line(f"{type(error).__name__}: {error}")) from error


def _record_batch(path: Path, size: int, most: int) -> tuple[int, bytes]:
    """Return the offset of the record batch's body and the batch's metadata, of which at most `most` bytes are read."""
    with path.open("rb") as file:
        file.seek(size - 10)
        (footer_length,) = struct.unpack("<i", file.read(4))
        if file.read(6) != _MAGIC or not 0 < footer_length <= min(size - 18, most):
            raise ValueError("no Arrow footer")
        file.seek(size - 10 - footer_length)
        blocks = _Table.root(file.read(footer_length)).vector(3, 24)
        if len(blocks) != 24:
            raise ValueError("not one record batch")
        offset, metadata_length, body_length = struct.unpack("<qi4xq", blocks)
        if min(offset, metadata_length, body_length) < 8 or offset + metadata_length + body_length > size:
            raise ValueError("the record batch ends after the file")
        if metadata_length > most:
            raise ValueError("the record batch ends after the file")
        file.seek(offset)
        head = file.read(metadata_length)
        (length,) = struct.unpack("<i", head[4:8])
        if head[:4] != _CONTINUATION or length != metadata_length - 8:
            raise ValueError("the record batch has another length than the footer says")
        return offset + metadata_length, head[8:]


class _Table:
    """A table of a flatbuffer. Positions outside the buffer raise struct.error or ValueError."""

    def __init__(self, buffer: bytes, position: int):
        self.buffer, self.position = buffer, position
        if not 0 <= position <= len(buffer) - 4:
            raise ValueError("a table outside its flatbuffer")
        self.fields = position - self._read("<i", position)

    @classmethod
    def root(cls, buffer: bytes) -> "_Table":
        """Return the root table of a flatbuffer."""
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def _read(self, form: str, position: int) -> int:
        if position < 0:
            raise ValueError("a position before its flatbuffer")
        return int(struct.unpack_from(form, self.buffer, position)[0])

    def field(self, number: int) -> int:
        """Return the position of a field; 0 if it is absent."""
        entry = 4 + 2 * number
        if entry >= self._read("<H", self.fields):
            return 0
        offset = self._read("<H", self.fields + entry)
        return self.position + offset if offset else 0

    def scalar(self, number: int, form: str) -> int:
        """Return the number in a field, in struct's notation `form`; 0 if it is absent."""
        position = self.field(number)
        return self._read(form, position) if position else 0

    def table(self, number: int) -> "_Table":
        """Return the table in a field. Raises ValueError if it is absent."""
        position = self.field(number)
        if not position:
            raise ValueError("a flatbuffer without a table it needs")
        return _Table(self.buffer, position + self._read("<I", position))

    def vector(self, number: int, item: int) -> bytes:
        """Return the bytes of a vector of structs of `item` bytes each."""
        position = self.field(number)
        if not position:
            return b""
        position += self._read("<I", position)
        stop = position + 4 + self._read("<I", position) * item
        if stop > len(self.buffer):
            raise ValueError("a vector outside its flatbuffer")
        return self.buffer[position + 4 : stop]

    def pairs(self, number: int) -> list[tuple[int, ...]]:
        """Return a vector of structs of two int64 each."""
        return list(struct.iter_unpack("<qq", self.vector(number, 16)))


def _arrays(column_type: ColumnType, rows: int) -> list[tuple[str, int | None]]:
    """Return (part in the array's buffer, length) of each Arrow array of a column, in order; "" for no buffer."""
    if column_type.width is None:
        return [("offsets", rows), ("values", None)]
    if column_type.width == 0 or column_type == _HASH:
        return [("fixed", rows)]
    return [("", rows), ("fixed", rows * column_type.width)]


_HASH = ColumnType("uint8", ROW_HASH_BYTES)  # fixed-size binary: one buffer, no child


def _schema(types: Mapping[str, ColumnType]) -> pa.Schema:
    fields = {}
    for name, column_type in types.items():
        values = pa.from_numpy_dtype(np.dtype(column_type.dtype))
        if column_type.width is None:
            values = pa.large_list(values)
        elif column_type == _HASH:
            values = pa.binary(ROW_HASH_BYTES)
        elif column_type.width:
            values = pa.list_(values, column_type.width)
        fields[name] = values
    return pa.schema(fields)


def to_arrow(column: Column) -> pa.Array:
    """Return a column as an Arrow array, numbers on the very same bytes."""
    if isinstance(column, Ragged):
        return pa.LargeListArray.from_arrays(pa.array(column.offsets), pa.array(column.values))
    column = np.ascontiguousarray(column)
    if column.dtype == np.uint8:
        buffers = [None, pa.py_buffer(column.tobytes())]
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(column.shape[1]), len(column), buffers)
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])
