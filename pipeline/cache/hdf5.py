"""Shards as HDF5 files: every column a contiguous data set, read by mapping the file at its offset.

A ragged column is a group of two data sets, `values` and `offsets`.
"""

import mmap
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from pipeline.examples import Column, Ragged

SUFFIX = ".h5"
ALIGNMENT = 64


def write(path: Path, columns: Mapping[str, Column]) -> None:
    with h5py.File(path, "w", libver="v110", alignment_threshold=1, alignment_interval=ALIGNMENT) as file:
        for name, column in columns.items():
            parts = (
                {f"{name}/values": column.values, f"{name}/offsets": column.offsets}
                if isinstance(column, Ragged)
                else {name: column}
            )
            for part, values in parts.items():
                file.create_dataset(part, data=np.ascontiguousarray(values), track_times=False)


def read(path: Path) -> dict[str, Column]:
    """Columns as views of the mapped file. Raises ValueError, KeyError or OSError if it is no shard."""
    with path.open("rb") as raw:
        mapped = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
    with h5py.File(path, "r") as file:
        return {name: _column(file, name, mapped) for name in file}


def _column(file: h5py.File, name: str, mapped: mmap.mmap) -> Column:
    if file.get(name, getlink=True).__class__ is not h5py.HardLink:
        raise ValueError(f"{name} is a link")
    item = file[name]
    if isinstance(item, h5py.Group):
        if set(item) != {"values", "offsets"}:
            raise ValueError(f"{name} is no ragged column")
        return Ragged(_view(item, "values", mapped), _view(item, "offsets", mapped))
    return _view(file, name, mapped)


def _view(group: h5py.Group, name: str, mapped: mmap.mmap) -> np.ndarray:
    if group.get(name, getlink=True).__class__ is not h5py.HardLink:
        raise ValueError(f"{name} is a link")
    data = group[name]
    start = data.id.get_offset() if isinstance(data, h5py.Dataset) else None
    if start is None or data.chunks or data.external or data.is_virtual:
        raise ValueError(f"{name} is not stored in one piece in this file")
    if data.dtype.kind not in "iuf" or start + data.nbytes > len(mapped):
        raise ValueError(f"{name} does not lie within the file as numbers")
    return np.frombuffer(mapped, data.dtype, data.size, start).reshape(data.shape)
