"""Opening a finished cache: sizes and schema of every shard are checked, its bytes are mapped, not read."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from pipeline.bundle import layer_of
from pipeline.cache.columns import check_columns
from pipeline.cache.containers import container
from pipeline.cache.manifest import TEACHER, Manifest, ShardRecord, read_manifest
from pipeline.errors import BadCache, BadOption
from pipeline.examples import Columns, Split
from pipeline.fingerprint import intact
from pipeline.progress import bar
from pipeline.tasks import role_of

LONG_CHECK = 2**30  # bytes of shards from which checking them takes long enough for a bar


@dataclass(frozen=True)
class Cache:
    """A finished cache. `splits` maps each name to its examples with their targets."""

    directory: Path
    manifest: Manifest

    @property
    def teacher(self) -> Path:
        return self.directory / TEACHER

    @cached_property
    def splits(self) -> dict[str, Split]:
        return {
            name: Split(name, [self._open(shard) for shard in record.shards], record.labelled)
            for name, record in self.manifest.splits.items()
        }

    def _open(self, record: ShardRecord) -> Columns:
        path = self.directory / record.file
        try:
            if path.is_symlink() or path.stat().st_size != record.bytes:
                raise ValueError(f"its size is {path.stat().st_size}, not {record.bytes} bytes")
            columns = container(self.manifest.container).read(path)
            check_columns(columns, self.manifest.column_types(), record.rows)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadCache(f"{path} is damaged ({reason}). Make the cache again with cache-teacher") from error
        return columns

    def check_bytes(self, splits: Iterable[str], layers: int) -> None:
        """Compare every file that a student of `layers` layers reads with its digest: the shards of `splits`, and
        teacher/ without the upper layers. Raises `BadCache` naming the first file that differs."""
        shards = [shard for name in splits for shard in self.manifest.splits[name].shards]
        expected = {shard.file: shard.sha256 for shard in shards}
        files = self.manifest.teacher_files.items()
        expected |= {f"{TEACHER}/{name}": digest for name, digest in files if layer_of(name) <= layers}
        total = sum(shard.bytes for shard in shards)
        with bar(total, f"check {self.directory}", "B", show=total > LONG_CHECK) as progress:
            for file, digest in expected.items():
                if not intact(self.directory / file, digest):
                    raise BadCache(
                        f"{self.directory / file} is damaged (its bytes are not those of the manifest). "
                        "Make the cache again with cache-teacher"
                    )
                progress.update((self.directory / file).stat().st_size)


def open_cache(directory: Path) -> Cache:
    """Raises `BadCache` for a directory that is no finished cache or whose files are not what it says."""
    cache = Cache(directory, read_manifest(directory))
    _ = cache.splits
    return cache


def splits_of_role(splits: dict[str, Split], name: str) -> dict[str, Split]:
    """The split called `name`, or all splits of the role dev or test. Raises `BadOption` if there is none."""
    chosen = {key: split for key, split in splits.items() if name in (key, role_of(key))}
    if not chosen:
        raise BadOption(f"there is no split {name}; there are {', '.join(splits)}. Use --split with one of these")
    return chosen
