"""The command `cache convert`: copy a cache into another container, dtype or selection of layers.

The teacher is not run. The bytes are those that cache-teacher would have written with these options.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.background_check import verify_shard
from pipeline.cache.format.columns import ColumnType
from pipeline.cache.format.manifest import Manifest, Origin, ShardRecord, SplitRecord
from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.cache.shards import Shard
from pipeline.cache.user_store import record_rows, recorded_rows
from pipeline.cache.writer import CacheWriter
from pipeline.config.cache import CacheConvertConfig
from pipeline.config.options import command_line
from pipeline.data.ragged import Column, Ragged
from pipeline.distillation.layer_map import parse_layers
from pipeline.errors import OTHER_BYTES, BadCache, BadOption, DamagedFile
from pipeline.models.encoders import first_layers
from pipeline.system.progress import bar, note
from pipeline.teacher.preflight import check_space
from pipeline.training.provenance import environment, shareable


@dataclass(frozen=True)
class ConvertResult:
    """The new cache, and the identity of the cache that it was converted from."""

    command: str
    out: str
    seconds: float
    identity: str
    content: str
    derived_from: str  # identity
    container: str
    layers: list[int]
    dtype: str
    bytes: int


class NotFinite(BadCache):
    """A value that the stored type cannot hold."""


def run(config: CacheConvertConfig) -> ConvertResult:
    """Write the copy, or continue an interrupted one; leave a finished one as it is.

    Every byte is verified before it is copied. Raises a `DistillError`, also if OUT holds another identity.
    """
    started = time.monotonic()
    source, out = open_cache(config.cache), Path(config.out)
    if Path(config.cache).resolve() in out.resolve().parents:
        raise BadOption(f"{out} lies inside {config.cache}, which is complete as it is. Name another directory")
    manifest = _manifest(config, source)
    writer = CacheWriter(out, manifest.fields, manifest.container, "OUT")
    if (finished := writer.finished()) is not None:
        note(f"{out} is already this cache, complete")
        return _result(out, finished, source, started)
    check_space(out, _bytes_needed(writer, source.manifest, manifest), "OUT")
    if manifest.has_teacher:
        source.check_teacher(first_layers(manifest.model.depth))
    writer.start()
    try:
        if (finished := writer.finished()) is not None:  # another process finished it since the first check
            return _result(out, finished, source, started)
        manifest = replace(manifest, splits=_splits(writer, source, manifest), teacher_files=_teacher(writer, source))
        made = {"seconds": round(time.monotonic() - started, 2), "environment": environment()}
        manifest = replace(manifest, made={**manifest.made, **made})
        writer.finish(manifest)
    except NotFinite:
        writer.discard()
        raise
    finally:
        writer.close()
    if rows := recorded_rows(source.manifest.identity):
        record_rows(manifest.identity, rows)
    return _result(out, manifest, source, started)


def _manifest(config: CacheConvertConfig, source: Cache) -> Manifest:
    """Return the copy's manifest without its files. Raises `BadOption` for what the source does not hold."""
    manifest, dtype = source.manifest, config.dtype or source.manifest.dtype
    of_layers = {"--layers": config.layers, "--dtype": config.dtype}
    if not manifest.has_teacher and (given := [name for name, value in of_layers.items() if value is not None]):
        raise BadOption(
            f"{source.location} does not have any layers: its targets were made elsewhere. Leave {given[0]} out"
        )
    if dtype == "float32" and manifest.dtype == "float16":
        raise BadOption(
            f"{source.location} holds float16, and as float32 that would not be what the teacher said. "
            "Run cache-teacher with --dtype float32"
        )
    layers = manifest.layers
    if config.layers is not None:
        layers = parse_layers("--layers", config.layers, manifest.model.depth)
        if missing := [layer for layer in layers if layer not in manifest.layers]:
            kept = ",".join(map(str, manifest.layers))
            raise BadOption(
                f"{source.location} has no layer {missing[0]}. "
                + (f"Use --layers with some of {kept}" if kept else "Leave --layers out: it has none")
            )
    kept_facts = {name: manifest.made[name] for name in ("teacher", "rows_from", "rows") if name in manifest.made}
    return replace(
        manifest,
        fields=replace(manifest.fields, layers=layers, dtype=dtype),
        container=config.format or manifest.container,
        derived_from=Origin(manifest.identity, manifest.content),
        made={"command": command_line("cache convert", shareable(config)), **kept_facts},
    )


def _bytes_needed(writer: CacheWriter, source: Manifest, target: Manifest) -> int:
    """Return the bytes to write: the source's, less columns that shrink or go and shards that are written already."""
    widths = [
        sum(kind.bytes(1) for kind in manifest.column_types().values() if kind.width is not None)
        for manifest in (source, target)
    ]
    rows = sum(split.examples for split in source.splits.values())
    teacher = sum(record.bytes for record in source.teacher_files.values())
    shards = [(name, index) for name, split in source.splits.items() for index in range(len(split.shards))]
    written = sum(record.bytes for shard in shards if (record := writer.recorded(*shard)))
    return max(0, source.bytes + teacher - rows * (widths[0] - widths[1]) - written)


def _teacher(writer: CacheWriter, source: Cache) -> Mapping[str, Any]:
    """Copy teacher/, where there is one, and compare the copies with the source's digests."""
    if not source.manifest.has_teacher:
        return {}

    def copy(directory: Path) -> None:
        for name in source.manifest.teacher_files:
            shutil.copyfile(source.teacher / name, directory / name)

    written = writer.write_teacher(copy)
    for name, record in source.manifest.teacher_files.items():
        if written.get(name) != record:
            raise DamagedFile(source.teacher / name, OTHER_BYTES, source.location)
    return written


def _splits(writer: CacheWriter, source: Cache, manifest: Manifest) -> dict[str, SplitRecord]:
    """Write the shards that are missing; return the record of every split."""
    types, splits = manifest.column_types(), {}
    with bar(sum(split.examples for split in manifest.splits.values()), f"convert {manifest.task.name}", "ex") as moved:
        for name, split in source.splits.items():
            records: list[ShardRecord] = []
            for index, shard in enumerate(split.shards):
                assert isinstance(shard, Shard)
                record = writer.written(name, index)
                if record is None or record.rows_digest != shard.record.rows_digest:
                    verify_shard(shard, list(types), source.verified)
                    record = writer.write_shard(name, index, _columns(shard, types), types)
                records.append(record)
                moved.update(record.rows)
            splits[name] = replace(source.manifest.splits[name], shards=tuple(records))
    return splits


def _columns(shard: Shard, types: Mapping[str, ColumnType]) -> dict[str, Column]:
    """Return the columns to keep, in their new type. Raises `NotFinite` for the first example that does not fit it."""
    columns: dict[str, Column] = {}
    for name, kind in types.items():
        column = shard[name]
        if not isinstance(column, Ragged) and kind.target:
            with np.errstate(over="ignore"):
                column = column.astype(kind.dtype, copy=False)
            bad = ~np.isfinite(column).all(axis=1)
            if bad.any():
                raise NotFinite(
                    f"{name} of example {shard.first_id + int(bad.argmax())} of {shard.split} is not finite as "
                    f"{kind.dtype}. Keep --dtype float32, or leave layers out with --layers"
                )
        columns[name] = column
    return columns


def _result(out: Path, manifest: Manifest, source: Cache, started: float) -> ConvertResult:
    return ConvertResult(
        "cache convert",
        str(out),
        round(time.monotonic() - started, 2),
        manifest.identity,
        manifest.content,
        manifest.derived_from.identity if manifest.derived_from else source.manifest.identity,
        manifest.container,
        list(manifest.layers),
        manifest.dtype,
        manifest.bytes,
    )
