"""Writing a cache so that it is whole or not there, and so that an interrupted call goes on where it stopped.

While a cache is unfinished its directory holds `.partial/`: the identity it is being made for, and a record of each
finished shard. The manifest is written last; then `.partial/` goes away.
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.cache.columns import ColumnType, check_columns
from pipeline.cache.containers import container
from pipeline.cache.manifest import MANIFEST, TEACHER, Manifest, ShardRecord, read_manifest
from pipeline.errors import BadCache
from pipeline.examples import Column, rows_digest
from pipeline.files import read_json, write_directory, write_file, write_json
from pipeline.fingerprint import file_digest, intact, json_digest
from pipeline.progress import note

PARTIAL = ".partial"


def different_fields(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The identity fields in which two caches differ, as 'name: theirs ≠ ours'."""
    lines = []
    for name in sorted(set(ours) | set(theirs)):
        a, b = theirs.get(name), ours.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += different_fields(b, a, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"{prefix}{name}: {_short(a)} ≠ {_short(b)}")
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return text[:8] + "…" if len(text) == 64 else text


class CacheWriter:
    """One cache in the making. `directory` is created; what is there of another identity is refused."""

    def __init__(self, directory: Path, fields: Mapping[str, Any], container_name: str):
        self.directory = directory
        self.fields = fields
        self.container_name = container_name
        self.container = container(container_name)

    def finished(self) -> Manifest | None:
        """The manifest if the directory already is this cache, complete and undamaged; None if there is work to do.

        Raises `BadCache` if the directory holds anything else; nothing is changed before that is known.
        """
        started = self.directory / PARTIAL / "identity.json"
        if (self.directory / MANIFEST).is_file():
            try:
                manifest = read_manifest(self.directory)
            except BadCache as error:
                raise BadCache(
                    f"{self.directory / MANIFEST} is damaged. Remove {self.directory}, or name another --cache"
                ) from error
            self._refuse_other(manifest.fields, manifest.container)
            if self._reopened(manifest):
                return None
            shutil.rmtree(self.directory / PARTIAL, ignore_errors=True)  # left by a death right after the manifest
            return manifest
        if started.is_file():
            try:
                value = read_json(started)
                self._refuse_other(value["fields"], value["container"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadCache(f"{started} is damaged. Remove {self.directory}, or name another --cache") from error
        elif self.directory.is_dir() and any(entry.name != PARTIAL for entry in self.directory.iterdir()):
            raise BadCache(f"{self.directory} is not empty and no cache. Name another --cache")
        elif self.directory.exists() and not self.directory.is_dir():
            raise BadCache(f"{self.directory} is a file. Name another --cache")
        return None

    def _reopened(self, manifest: Manifest) -> bool:
        """Turn a finished cache with damaged files into an unfinished one that lacks these; False if it has none."""
        shards = {(name, i): s for name, split in manifest.splits.items() for i, s in enumerate(split.shards)}
        good = {key: s for key, s in shards.items() if intact(self.directory / s.file, s.sha256)}
        damaged = [s.file for key, s in shards.items() if key not in good]
        files = manifest.teacher_files.items()
        damaged += [f"{TEACHER}/{f}" for f, digest in files if not intact(self.directory / TEACHER / f, digest)]
        if not damaged:
            return False
        note(f"{self.directory}: making {', '.join(damaged)} again")
        self.start()
        for (name, index), shard in good.items():
            write_json(self._record_path(name, index), dataclasses.asdict(shard))
        (self.directory / MANIFEST).unlink()
        return True

    def _refuse_other(self, fields: Mapping[str, Any], container_name: str) -> None:
        differences = different_fields(self.fields, fields)
        if container_name != self.container_name:
            differences.append(f"format: {container_name} ≠ {self.container_name}")
        if differences:
            raise BadCache(
                f"{self.directory} was made from something else ({'; '.join(differences)}). Name another --cache"
            )

    def start(self) -> None:
        started = {
            "fields": self.fields,
            "container": self.container_name,
            "identity": json_digest(self.fields),
        }
        try:
            write_json(self.directory / PARTIAL / "identity.json", started)
        except OSError as error:
            raise BadCache(f"{self.directory} cannot be written ({error.strerror}). Name another --cache") from error

    def _record_path(self, split: str, index: int) -> Path:
        return self.directory / PARTIAL / f"{split}-{index:05d}.json"

    def written(self, split: str, index: int) -> ShardRecord | None:
        """The record of a shard that an earlier call finished, if its file still is what was written."""
        try:
            record = ShardRecord(**read_json(self._record_path(split, index)))
            return record if intact(self.directory / record.file, record.sha256) else None
        except (OSError, ValueError, TypeError):
            return None

    def write_shard(
        self, split: str, index: int, columns: Mapping[str, Column], types: Mapping[str, ColumnType]
    ) -> ShardRecord:
        """Write one shard and its record. Raises `BadCache` when the disk refuses."""
        rows = len(columns["label"])
        check_columns(columns, types, rows)
        ordered = {name: columns[name] for name in types}
        path = self.directory / split / f"{index:05d}{self.container.SUFFIX}"
        try:
            write_file(path, lambda temporary: self.container.write(temporary, ordered))
            record = ShardRecord(
                f"{split}/{path.name}", rows, path.stat().st_size, file_digest(path), rows_digest(columns)
            )
            write_json(self._record_path(split, index), dataclasses.asdict(record))
        except OSError as error:
            raise BadCache(
                f"{path} cannot be written ({error.strerror or error}). Make room and run the same command again: "
                "finished shards are kept"
            ) from error
        return record

    def read_shard(self, record: ShardRecord) -> dict[str, Column]:
        return self.container.read(self.directory / record.file)

    def write_teacher(self, write: Callable[[Path], None]) -> dict[str, str]:
        """Write teacher/ and return the digest of each of its files."""
        directory = self.directory / TEACHER
        write_directory(directory, write)
        return {path.name: file_digest(path) for path in sorted(directory.iterdir())}

    def finish(self, manifest: Manifest) -> None:
        manifest.write(self.directory)
        shutil.rmtree(self.directory / PARTIAL)
