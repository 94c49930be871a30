"""Shards as Arrow IPC files: uncompressed, one record batch, read by memory map without a copy."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.examples import Column, Ragged

SUFFIX = ".arrow"


def write(path: Path, columns: Mapping[str, Column]) -> None:
    arrays = [_to_arrow(name, column) for name, column in columns.items()]
    batch = pa.record_batch(arrays, names=list(columns))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def read(path: Path) -> dict[str, Column]:
    """Columns as views of the mapped file. Raises ValueError, OSError or pa.ArrowException if it is no shard."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        if reader.num_record_batches != 1:
            raise ValueError(f"{reader.num_record_batches} record batches, not 1")
        batch = reader.get_batch(0)
    batch.validate(full=True)
    return {name: _from_arrow(name, batch.column(i)) for i, name in enumerate(batch.schema.names)}


def _to_arrow(name: str, column: Column) -> pa.Array:
    if isinstance(column, Ragged):
        return pa.LargeListArray.from_arrays(pa.array(column.offsets), pa.array(column.values))
    column = np.ascontiguousarray(column)
    if name == "row_hash":
        buffers = [None, pa.py_buffer(column.tobytes())]
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(column.shape[1]), len(column), buffers)
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _from_arrow(name: str, array: pa.Array) -> Column:
    if array.null_count or array.offset:
        raise ValueError(f"column {name} has nulls or starts inside its buffer")
    if pa.types.is_large_list(array.type):
        offsets = array.offsets.to_numpy(zero_copy_only=True)
        return Ragged(array.values.to_numpy(zero_copy_only=True), offsets)
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        return array.values.to_numpy(zero_copy_only=True).reshape(len(array), width)
    if pa.types.is_fixed_size_binary(array.type):
        flat = np.frombuffer(array.buffers()[1], np.uint8, len(array) * array.type.byte_width)
        return flat.reshape(len(array), array.type.byte_width)
    return array.to_numpy(zero_copy_only=True)
