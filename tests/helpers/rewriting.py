"""Sound caches that differ from another one in what a test says, and unfinished ones."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.cache.open import open_cache
from pipeline.cache.shard_writer import write_shard
from pipeline.cache.writer import CacheWriter
from pipeline.data.ragged import Ragged
from pipeline.data.splits import row_hash


def columns_of(shard) -> dict:
    """Copies of all columns of a shard."""
    columns = {name: shard[name] for name in shard}
    return {
        name: Ragged(column.values.copy(), column.offsets.copy()) if isinstance(column, Ragged) else column.copy()
        for name, column in columns.items()
    }


def rewritten(source: Path, out: Path, change: Callable[[str, int, dict], None], **changes) -> Path:
    """A cache whose columns are those of `source` after change(split, index of the shard, columns) changed them in
    place; all digests are those of its bytes. `changes` are other fields of the manifest."""
    cache = open_cache(source)
    manifest, splits = cache.manifest, {}
    for name, split in cache.splits.items():
        records = []
        for index, shard in enumerate(split.shards):
            columns = columns_of(shard)
            change(name, index, columns)
            file = shard.record.file
            records.append(write_shard(out / file, file, manifest.container, columns, manifest.column_types()))
        splits[name] = replace(manifest.splits[name], shards=tuple(records))
    digests = {name: "".join(record.rows_digest for record in split.shards) for name, split in splits.items()}
    fields = {n: hashlib.sha256(text.encode()).hexdigest() for n, text in digests.items()}
    shutil.copytree(source / "teacher", out / "teacher")
    replace(manifest, fields=replace(manifest.fields, splits=fields), splits=splits, **changes).write(out)
    return out


def without_split(source: Path, out: Path, name: str) -> Path:
    """A copy of a cache that lacks a split."""
    shutil.copytree(source, out)
    shutil.rmtree(out / name)
    manifest = open_cache(source).manifest
    fields = {n: digest for n, digest in manifest.fields.splits.items() if n != name}
    splits = {n: split for n, split in manifest.splits.items() if n != name}
    replace(manifest, fields=replace(manifest.fields, splits=fields), splits=splits).write(out)
    return out


def change_token(columns: dict, row: int) -> None:
    """Another last word in one row."""
    ids: Ragged = columns["input_ids"]
    place = ids.offsets[row + 1] - 2
    ids.values[place] = 5 if ids.values[place] != 5 else 6
    columns["row_hash"][row] = np.frombuffer(row_hash(ids[row]), np.uint8)


def unfinished_cache(source: Path, out: Path, shards: int) -> Path:
    """An unfinished copy of a cache: its teacher and its first shards, nobody writing it."""
    cache = open_cache(source)
    writer = CacheWriter(out, cache.manifest.fields, cache.manifest.container)
    writer.start()
    writer.write_teacher(lambda to: shutil.copytree(cache.teacher, to, dirs_exist_ok=True))
    places = [(name, index) for name, split in cache.splits.items() for index in range(len(split.shards))]
    for name, index in places[:shards]:
        writer.write_shard(name, index, columns_of(cache.splits[name].shards[index]), cache.manifest.column_types())
    writer.close()
    return out


def flip_byte(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
