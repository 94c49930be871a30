"""Every byte and every value of a cache against its manifest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.cache.format.manifest import MANIFEST, TEACHER, Manifest
from pipeline.cache.reader import schema_problems
from pipeline.cache.shards import LocalSource, Shard
from pipeline.data.splits import rows_digest
from pipeline.errors import OTHER_BYTES, DamagedFile
from pipeline.system.digests import intact
from pipeline.system.lease import PARTIAL


def damage(directory: Path, manifest: Manifest, advance: Callable[[int], object]) -> dict[str, str]:
    """What is wrong with each file, by its path in the cache. `advance` is called with the bytes of files checked."""
    found = {file: problem.reason for file, problem in schema_problems(directory, manifest).items()}
    for file, record in manifest.files().items():
        if file not in found and not intact(directory / file, record.sha256):
            found[file] = OTHER_BYTES
        advance(record.bytes if file.startswith(f"{TEACHER}/") else record.bytes // 2)
    source = LocalSource(directory)
    for name, split in manifest.splits.items():
        for index, shard in enumerate(split.shards):
            if shard.file not in found or found[shard.file].startswith("its bytes"):
                reason = shard_damage(Shard(source, manifest, name, index))
                if reason:
                    found[shard.file] = reason
            advance(shard.bytes - shard.bytes // 2)
    return {file: found[file] for file in manifest.files() if file in found}


def shard_damage(shard: Shard) -> str | None:
    """The first thing that is wrong with what a shard holds; None if nothing is."""
    try:
        if reason := shard.what_differs():
            return reason
        if rows_digest(shard) != shard.record.rows_digest:
            return f"its rows are not those that the identity has for split {shard.split}"
        for name in shard:
            column = shard[name]
            if isinstance(column, np.ndarray) and column.dtype.kind == "f" and not np.isfinite(column).all():
                rows = np.isfinite(column.reshape(len(column), -1)).all(axis=1)
                return f"{name} is not finite for example {shard.first_id + int(rows.argmin())}"
    except DamagedFile as problem:
        return problem.reason
    return None


def unknown_files(directory: Path, manifest: Manifest) -> list[str]:
    """Files that lie in a cache and are not in its manifest."""
    known = {*manifest.files(), MANIFEST}
    there = (path.relative_to(directory) for path in sorted(directory.rglob("*")) if not path.is_dir())
    return [str(path) for path in there if str(path) not in known and path.parts[0] != PARTIAL]
