"""Shards as HDF5 files: every column a contiguous data set, read in place by mapping the file at its offset.

A ragged column is a group of two data sets, `values` and `offsets`. h5py writes the files and reports the offsets of
their data sets; no handle stays open, so that processes may fork.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from pipeline.cache.format.columns import ColumnType, parts_of
from pipeline.data.ragged import Column

ALIGNMENT = 64
_SIGNATURE = b"\x89HDF\r\n\x1a\n\x03"  # superblock version 3: every piece of metadata carries a checksum


def write(path: Path, columns: Mapping[str, Column]) -> None:
    """Write columns as contiguous data sets of an HDF5 file. Raises OSError."""
    buffer = io.BytesIO()  # a disk that fills up while HDF5 writes to it ends the process with a segmentation fault
    with h5py.File(buffer, "w", libver="v110", alignment_threshold=1, alignment_interval=ALIGNMENT) as file:
        for part, values in parts_of(columns).items():
            file.create_dataset(part, data=values, track_times=False)
    path.write_bytes(buffer.getbuffer())


def layout(path: Path, types: Mapping[str, ColumnType], rows: int) -> dict[str, tuple[int, int]]:
    """Return {part: (offset, bytes)} of the file. Raises ValueError, KeyError, OSError or RuntimeError."""
    with path.open("rb") as raw:
        if raw.read(len(_SIGNATURE)) != _SIGNATURE:
            raise ValueError("not an HDF5 file of version 1.10")
    positions = {}
    with h5py.File(path, "r", locking=False) as file:
        if len(file) != len(types) or sorted(file) != sorted(types):
            raise ValueError(f"its columns are not {', '.join(sorted(types))}")
        for name, column_type in types.items():
            group: h5py.Group = file
            if column_type.width is None:
                group = _child(file, name, h5py.Group)
                if len(group) != 2 or sorted(group) != ["offsets", "values"]:
                    raise ValueError(f"{name} is not a ragged column")
            for part in column_type.parts(name):
                data = _child(group, part.rpartition("/")[2], h5py.Dataset)
                positions[part] = (_start(part, data, path.stat().st_size), data.nbytes)
                dtype, shape = _expected(part, column_type, rows)
                if data.dtype != dtype or (shape and data.shape != shape) or data.ndim != max(1, len(shape)):
                    raise ValueError(f"{part} is {data.dtype}{list(data.shape)}")
    return positions


def _expected(part: str, column_type: ColumnType, rows: int) -> tuple[np.dtype, tuple[int, ...]]:
    """Return the type and shape that a data set must have; () where its length is its own."""
    if part.endswith("/offsets"):
        return np.dtype("<i8"), (rows + 1,)
    if column_type.width is None:
        return np.dtype(column_type.dtype).newbyteorder("<"), ()
    shape = (rows,) if column_type.width == 0 else (rows, column_type.width)
    return np.dtype(column_type.dtype).newbyteorder("<"), shape


def _child(group: h5py.Group, name: str, kind: type) -> h5py.Group | h5py.Dataset:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link")
    item = group[name]
    if not isinstance(item, kind):
        raise ValueError(f"{name} is not a {kind.__name__}")
    return item


def _start(part: str, data: h5py.Dataset, size: int) -> int:
    """Return a data set's offset in the file. Raises ValueError unless it is in one piece in this file."""
    is_elsewhere = data.is_virtual or data.external or data.chunks  # first: the size of a virtual one opens other files
    start = None if is_elsewhere else data.id.get_offset() if data.nbytes else 0  # without values it has no place
    if start is None:
        raise ValueError(f"{part} is not stored in one piece in this file")
    if start + data.nbytes > size:
        raise ValueError(f"{part} ends after the file")
    return int(start)
