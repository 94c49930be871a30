"""Writing caches: complete or not at all, by one process or many, and resumable after an interruption.

While a cache is unfinished its directory holds `.partial/`: the cache's identity, the lease of its writer, and a record
of each finished shard. The manifest is written last; then `.partial/` is removed.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from pipeline.cache.format.columns import ColumnType
from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.identity import CacheIdentity, different_fields
from pipeline.cache.format.manifest import MANIFEST, TEACHER, FileRecord, Manifest, ShardRecord
from pipeline.cache.format.manifest_validation import read_manifest, shard_record
from pipeline.cache.reader import schema_problems
from pipeline.cache.shard_writer import write_shard
from pipeline.data.ragged import Column
from pipeline.errors import BadCache, LeaseLost
from pipeline.system.digests import file_digest, intact
from pipeline.system.files import is_temporary, read_json, remove, write_directory, write_json, write_text
from pipeline.system.lease import PARTIAL, Lease, directory_lease
from pipeline.system.system_errors import raise_if_of_system, reason_of

STARTED = f"{PARTIAL}/identity.json"  # the identity of an unfinished cache


def fields_in(directory: Path) -> Mapping[str, Any] | None:
    """Return the fields of the cache in a directory, finished or not; None if they cannot be read.

    Raises `BadCache` for a finished cache whose manifest is damaged.
    """
    if (directory / MANIFEST).is_file():
        return read_manifest(directory).fields.as_json()
    try:
        fields = read_json(directory / STARTED)["fields"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return fields if isinstance(fields, dict) else None


class CacheWriter:
    """The writer of one cache. A directory that holds another identity is refused.

    `finished` looks for a complete cache; `start` takes the directory's lease; shards and teacher/ are written in any
    order, by any process; `finish` writes the manifest.
    """

    def __init__(self, directory: Path, identity: CacheIdentity | None, container_name: str, option: str = "--cache"):
        self.directory = directory
        self.option = option  # that names the directory on the command line
        self._identity = identity
        self.container_name = container_name
        self.container = CONTAINERS[container_name]
        self.lease = directory_lease(directory)
        self.is_new = False  # whether there was no earlier call before `start`

    @property
    def identity(self) -> CacheIdentity:
        """The identity of the cache; a writer without one only looks at claims."""
        assert self._identity is not None
        return self._identity

    @property
    def _started(self) -> Path:
        return self.directory / STARTED

    def finished(self) -> Manifest | None:
        """Return the manifest if the directory already is this cache, complete; None if there is work to do.

        Raises `BadCache` if the directory holds anything else; nothing is changed before that is known.
        """
        started = self._started
        if (self.directory / MANIFEST).is_file():
            manifest = read_manifest(self.directory)
            self._refuse_other(manifest.fields.as_json(), manifest.container)
            for problem in schema_problems(self.directory, manifest).values():
                raise problem
            self._tidy()
            return manifest
        if started.is_file():
            try:
                value = read_json(started)
                self._refuse_other(value["fields"], value["container"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise_if_of_system(error)
                raise BadCache(
                    f"{started} is damaged. Remove {self.directory}, or name another {self.option}"
                ) from error
        elif self.directory.is_dir() and any(entry.name != PARTIAL for entry in self.directory.iterdir()):
            raise BadCache(f"{self.directory} is not empty and not a cache. Name another {self.option}")
        elif self.directory.exists() and not self.directory.is_dir():
            raise BadCache(f"{self.directory} is a file. Name another {self.option}")
        return None

    def _tidy(self) -> None:
        """Remove .partial/ of a writer that died, or is about to remove it, after it wrote the manifest."""
        partial = self.directory / PARTIAL
        if not partial.is_dir() or partial.is_symlink():
            return
        with contextlib.suppress(OSError):  # a directory that cannot be written is complete anyway
            if self.lease.me is not None or self.lease.acquire() is None:
                remove(partial)
                self.lease.release()

    def _refuse_other(self, fields: Mapping[str, Any], container_name: str) -> None:
        """Raise `BadCache` for the fields of another identity, or another container."""
        differences = different_fields(self.identity.as_json(), fields)
        if container_name != self.container_name:
            differences.append(f"format: {container_name} ≠ {self.container_name}")
        if differences:
            raise BadCache(
                f"{self.directory} was made from something else ({'; '.join(differences)}). Name another {self.option}"
            )

    def start(self, join: bool = False) -> bool:
        """Take the lease and record the identity. Return False if another process holds the lease and `join` is set.

        Raises `BadCache` for a directory that another process is writing, or that cannot be written.
        """
        try:
            if (holder := self.lease.acquire()) is not None:
                if join:
                    return False
                advice = (
                    "Wait for it, or add --join to share its work"
                    if self.option == "--cache"
                    else "Wait for it, then run the same command again"
                )
                raise BadCache(f"{self.directory} is being written by {holder}. {advice}")
            if (self.directory / MANIFEST).is_file():
                return True  # another process has just finished it
            for path in [*self.directory.glob(".*"), *self.directory.glob("*/.*")]:  # of dead writers
                if is_temporary(path) and path.parent.name != PARTIAL and not self._is_being_written(path):
                    remove(path)
            identity = self.identity
            started = {"fields": identity.as_json(), "container": self.container_name, "identity": identity.digest}
            self.is_new = not self._started.is_file()
            write_json(self._started, started)
        except OSError as error:
            raise BadCache(
                f"{self.directory} cannot be written ({error.strerror}). Name another {self.option}"
            ) from error
        return True

    def _is_being_written(self, temporary: Path) -> bool:
        """Return whether a living process that joined is writing this file of a shard."""
        number = temporary.name[1:].partition(".")[0]
        return number.isdigit() and self.claim(temporary.parent.name, int(number)).holder() is not None

    def close(self) -> None:
        """Give the lease back; everything written stays, and the next call continues from it."""
        self.lease.release()

    def discard(self) -> None:
        """Remove a cache that this call started, or what is left of one that its owner discarded."""
        manifest_or_owner = (self.directory / MANIFEST).is_file() or self.lease.holder() is not None
        if self.is_new or not (self._started.is_file() or manifest_or_owner):
            self.lease.release()
            remove(self.directory)

    def _record_path(self, split: str, index: int) -> Path:
        return self.directory / PARTIAL / f"{split}-{index:05d}.json"

    def claim(self, split: str, index: int) -> Lease:
        """Return the lease on one shard, for processes that share the work."""
        return Lease(self._record_path(split, index).with_suffix(".lease"))

    def recorded(self, split: str, index: int) -> ShardRecord | None:
        """Return the record of a finished shard; None if there is none."""
        try:
            return shard_record(read_json(self._record_path(split, index)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise_if_of_system(error)
            return None

    def written(self, split: str, index: int) -> ShardRecord | None:
        """Return the record of a shard that an earlier call finished; None unless its file is still intact."""
        record = self.recorded(split, index)
        return record if record and intact(self.directory / record.file, record.sha256) else None

    def write_shard(
        self, split: str, index: int, columns: Mapping[str, Column], types: Mapping[str, ColumnType]
    ) -> ShardRecord:
        """Write one shard and its record. Raises `BadCache` when the disk refuses."""
        file = f"{split}/{index:05d}{self.container.suffix}"
        try:
            record = write_shard(self.directory / file, file, self.container_name, columns, types)
            self.record(split, index, record)
        except OSError as error:
            raise BadCache(
                f"{self.directory / file} cannot be written ({reason_of(error)}). Make room and run the same "
                "command again: finished shards are kept"
            ) from error
        return record

    def record(self, split: str, index: int, record: ShardRecord) -> None:
        """Record that a shard's file is complete, so that the next call need not write it. Raises OSError."""
        write_json(self._record_path(split, index), dataclasses.asdict(record))

    def write_teacher(self, write: Callable[[Path], None]) -> dict[str, FileRecord]:
        """Write teacher/ unless an earlier call did, and return the record of each of its files.

        Raises `BadCache` when the disk refuses.
        """
        if (records := self.teacher_files()) is not None:
            return records
        directory = self.directory / TEACHER
        try:
            write_directory(directory, write)
            files = {p.name: FileRecord(p.stat().st_size, file_digest(p)) for p in sorted(directory.iterdir())}
            write_json(self._teacher_record, {name: dataclasses.asdict(record) for name, record in files.items()})
        except (OSError, SafetensorError) as error:
            raise BadCache(
                f"{directory} cannot be written ({reason_of(error)}). Make room and run the same command again"
            ) from error
        return files

    @property
    def _teacher_record(self) -> Path:
        return self.directory / PARTIAL / "teacher.json"

    def teacher_files(self) -> dict[str, FileRecord] | None:
        """Return the record of each file of teacher/; None unless it was written and is still intact."""
        try:
            files = {name: FileRecord(**record) for name, record in read_json(self._teacher_record).items()}
            is_intact = all(intact(self.directory / TEACHER / name, record.sha256) for name, record in files.items())
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise_if_of_system(error)
            return None
        return files if is_intact else None

    def finish(self, manifest: Manifest, data: bytes | None = None) -> None:
        """Complete the cache: write the manifest, as `data` where its bytes are given.

        Raises `BadCache` if this process no longer holds the lease.
        """
        try:
            self.lease.check()
        except LeaseLost as error:
            raise BadCache(str(error)) from error
        write_text(self.directory / MANIFEST, manifest.text() if data is None else data.decode())
        self.lease.release()
        remove(self.directory / PARTIAL)
