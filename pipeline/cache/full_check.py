"""A check of every byte and every value of a cache against its manifest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.cache.format.manifest import MANIFEST, TEACHER, Manifest
from pipeline.cache.reader import schema_problems
from pipeline.cache.shard_sources import LocalSource
from pipeline.cache.shards import Shard, open_split
from pipeline.data.splits import Split, rows_digest
from pipeline.errors import OTHER_BYTES, DamagedFile
from pipeline.system.digests import intact
from pipeline.system.lease import PARTIAL


def damaged_files(directory: Path, manifest: Manifest, advance: Callable[[int], object]) -> dict[str, str]:
    """Return {path in the cache: what is wrong} of the damaged files. `advance` receives the bytes checked."""
    reasons = {file: problem.reason for file, problem in schema_problems(directory, manifest).items()}
    for file, record in manifest.files().items():
        if file not in reasons and not intact(directory / file, record.sha256):
            reasons[file] = OTHER_BYTES
        advance(record.bytes if file.startswith(f"{TEACHER}/") else record.bytes // 2)
    source = LocalSource(directory)
    for name, split in manifest.splits.items():
        for index, shard in enumerate(split.shards):
            if shard.file not in reasons or reasons[shard.file].startswith("its bytes"):
                reason = shard_damage(Shard(source, manifest, name, index))
                if reason:
                    reasons[shard.file] = reason
            advance(shard.bytes - shard.bytes // 2)
        if not any(shard.file in reasons for shard in split.shards):
            _check_labelled_examples(directory, manifest, name, open_split(source, manifest, name))
    return {file: reasons[file] for file in manifest.files() if file in reasons}


def _check_labelled_examples(directory: Path, manifest: Manifest, name: str, split: Split) -> None:
    """Raise `DamagedFile` unless as many rows of an intact split have a label as the manifest says."""
    counted, recorded = int(manifest.kind.has_label(split.labels).sum()), manifest.splits[name].labelled_examples
    if manifest.fields.format > 2 and counted != recorded:
        reason = f"it says that {recorded} examples of split {name} have a label, and {counted} have one"
        raise DamagedFile(directory / MANIFEST, reason, directory)


def shard_damage(shard: Shard) -> str | None:
    """Return the first thing that is wrong with a shard's contents; None if they are intact."""
    try:
        if reason := shard.what_differs():
            return reason
        if rows_digest(shard) != shard.record.rows_digest:
            return f"its rows are not those that the identity has for split {shard.split}"
        for name in shard:
            column = shard[name]
            if shard.types[name].target and not np.isfinite(column).all():  # type: ignore[arg-type]
                rows = np.isfinite(np.asarray(column).reshape(len(column), -1)).all(axis=1)
                return f"{name} is not finite for example {shard.first_id + int(rows.argmin())}"
    except DamagedFile as problem:
        return problem.reason
    return None


def unknown_files(directory: Path, manifest: Manifest) -> list[str]:
    """Return the paths of files in a cache that its manifest does not name."""
    named = {*manifest.files(), MANIFEST}
    paths = (path.relative_to(directory) for path in sorted(directory.rglob("*")) if not path.is_dir())
    return [str(path) for path in paths if str(path) not in named and path.parts[0] != PARTIAL]
