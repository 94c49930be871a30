"""Writing a cache so that it is whole or not there, by one process or many, and so that an interrupted call goes on.

While a cache is unfinished its directory holds `.partial/`: the identity it is being made for, who is writing it, and
a record of each finished shard. The manifest is written last; then `.partial/` goes away.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from pipeline.cache.format.columns import ColumnType, check_columns, parts_of
from pipeline.cache.format.containers import container
from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.format.manifest import MANIFEST, TEACHER, Extent, FileRecord, Manifest, ShardRecord
from pipeline.cache.format.manifest_validation import read_manifest, shard_record
from pipeline.cache.reader import schema_problems
from pipeline.data.ragged import Column
from pipeline.data.splits import rows_digest
from pipeline.errors import BadCache, one_line
from pipeline.system.digests import bytes_digest, file_digest, intact, open_file_digest
from pipeline.system.files import is_temporary, read_json, remove, write_directory, write_file, write_json, write_text
from pipeline.system.lease import PARTIAL, Lease, directory_lease


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


def _reason(error: Exception) -> str:
    """Why the disk refuses, in the system's words, where the libraries have words of their own."""
    found = re.search(r"os error (\d+)", str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    return os.strerror(number) if number else one_line(error)


class CacheWriter:
    """One cache in the making. What is in `directory` of another identity is refused.

    `finished` says what there is; `start` takes the directory's lease; shards and teacher/ are written in any order,
    by any process; `finish` writes the manifest.
    """

    def __init__(self, directory: Path, identity: CacheIdentity | None, container_name: str, option: str = "--cache"):
        self.directory = directory
        self.option = option  # what names the directory on the command line
        self._identity = identity
        self.container_name = container_name
        self.container = container(container_name)
        self.lease = directory_lease(directory)
        self.is_new = False  # whether `start` found nothing of an earlier call

    @property
    def identity(self) -> CacheIdentity:
        """The identity of the cache; a writer without one only looks at claims."""
        assert self._identity is not None
        return self._identity

    @property
    def _started(self) -> Path:
        return self.directory / PARTIAL / "identity.json"

    def finished(self) -> Manifest | None:
        """The manifest if the directory already is this cache, complete; None if there is work to do.

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
                raise BadCache(
                    f"{started} is damaged. Remove {self.directory}, or name another {self.option}"
                ) from error
        elif self.directory.is_dir() and any(entry.name != PARTIAL for entry in self.directory.iterdir()):
            raise BadCache(f"{self.directory} is not empty and no cache. Name another {self.option}")
        elif self.directory.exists() and not self.directory.is_dir():
            raise BadCache(f"{self.directory} is a file. Name another {self.option}")
        return None

    def _tidy(self) -> None:
        """Remove .partial/ of a writer that died, or is about to remove it, after the manifest was written."""
        partial = self.directory / PARTIAL
        if not partial.is_dir() or partial.is_symlink():
            return
        with contextlib.suppress(OSError):  # a directory that cannot be written is complete all the same
            if self.lease.me is not None or self.lease.acquire() is None:
                remove(partial)
                self.lease.release()

    def _refuse_other(self, fields: Mapping[str, Any], container_name: str) -> None:
        differences = different_fields(self.identity.as_json(), fields)
        if container_name != self.container_name:
            differences.append(f"format: {container_name} ≠ {self.container_name}")
        if differences:
            raise BadCache(
                f"{self.directory} was made from something else ({'; '.join(differences)}). Name another {self.option}"
            )

    def start(self, join: bool = False) -> bool:
        """Take the lease and say what is being made. False if another process holds it and `join` asks to help it.

        Raises `BadCache` for a directory that another process is writing, or that cannot be written.
        """
        try:
            if (holder := self.lease.acquire()) is not None:
                if join:
                    return False
                way = (
                    "Wait for it, or add --join to share its work"
                    if self.option == "--cache"
                    else "Wait for it, then run the same command again"
                )
                raise BadCache(f"{self.directory} is being written by {holder}. {way}")
            if (self.directory / MANIFEST).is_file():
                return True  # another process has finished it since this one looked
            for path in [*self.directory.glob(".*"), *self.directory.glob("*/.*")]:  # what dead writers left
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
        """Whether a living process, having joined, is writing this file of a shard."""
        number = temporary.name[1:].partition(".")[0]
        return number.isdigit() and self.claim(temporary.parent.name, int(number)).holder() is not None

    def close(self) -> None:
        """Give the lease back; what was written stays, for the next call to go on with."""
        self.lease.release()

    def discard(self) -> None:
        """Remove what this call began, where nothing was before it, or what is left of a cache that its owner
        discarded.
        """
        manifest_or_owner = (self.directory / MANIFEST).is_file() or self.lease.holder() is not None
        if self.is_new or not (self._started.is_file() or manifest_or_owner):
            self.lease.release()
            remove(self.directory)

    def _record_path(self, split: str, index: int) -> Path:
        return self.directory / PARTIAL / f"{split}-{index:05d}.json"

    def claim(self, split: str, index: int) -> Lease:
        """The lease on one shard, for processes that share the work."""
        return Lease(self._record_path(split, index).with_suffix(".lease"))

    def recorded(self, split: str, index: int) -> ShardRecord | None:
        """The record of a finished shard."""
        try:
            return shard_record(read_json(self._record_path(split, index)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def written(self, split: str, index: int) -> ShardRecord | None:
        """The record of a shard that an earlier call finished, if its file still is what was written."""
        record = self.recorded(split, index)
        return record if record and intact(self.directory / record.file, record.sha256) else None

    def write_shard(
        self, split: str, index: int, columns: Mapping[str, Column], types: Mapping[str, ColumnType]
    ) -> ShardRecord:
        """Write one shard and its record. Raises `BadCache` when the disk refuses."""
        file = f"{split}/{index:05d}{self.container.SUFFIX}"
        try:
            record = write_shard(self.directory / file, file, self.container_name, columns, types)
            self.record(split, index, record)
        except OSError as error:
            raise BadCache(
                f"{self.directory / file} cannot be written ({_reason(error)}). Make room and run the same "
                "command again: finished shards are kept"
            ) from error
        return record

    def record(self, split: str, index: int, record: ShardRecord) -> None:
        """Say that a shard's file is there, so that the next call need not write it. Raises OSError."""
        write_json(self._record_path(split, index), dataclasses.asdict(record))

    def write_teacher(self, write: Callable[[Path], None]) -> dict[str, FileRecord]:
        """Write teacher/ unless an earlier call did, and return the record of each of its files.

        Raises `BadCache` when the disk refuses.
        """
        if (there := self.teacher_files()) is not None:
            return there
        directory = self.directory / TEACHER
        try:
            write_directory(directory, write)
            files = {p.name: FileRecord(p.stat().st_size, file_digest(p)) for p in sorted(directory.iterdir())}
            write_json(self._teacher_record, {name: dataclasses.asdict(record) for name, record in files.items()})
        except (OSError, SafetensorError) as error:
            raise BadCache(
                f"{directory} cannot be written ({_reason(error)}). Make room and run the same command again"
            ) from error
        return files

    @property
    def _teacher_record(self) -> Path:
        return self.directory / PARTIAL / "teacher.json"

    def teacher_files(self) -> dict[str, FileRecord] | None:
        """The record of each file of teacher/ if it was written and still is what was written."""
        try:
            files = {name: FileRecord(**record) for name, record in read_json(self._teacher_record).items()}
            whole = all(intact(self.directory / TEACHER / name, record.sha256) for name, record in files.items())
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return files if whole else None

    def finish(self, manifest: Manifest, data: bytes | None = None) -> None:
        """Write the manifest, as `data` where its bytes are given: the cache is complete.

        Raises `BadCache` if this process no longer holds the lease.
        """
        self.lease.check()
        write_text(self.directory / MANIFEST, manifest.text() if data is None else data.decode())
        self.lease.release()
        remove(self.directory / PARTIAL)


def write_shard(
    path: Path, file: str, container_name: str, columns: Mapping[str, Column], types: Mapping[str, ColumnType]
) -> ShardRecord:
    """Write columns as one shard and return its record, `file` being its path in the cache. Raises OSError."""
    rows = len(columns["label"])
    check_columns(columns, types, rows)
    ordered = {name: columns[name] for name in types}
    module = container(container_name)
    with ThreadPoolExecutor(2) as threads:  # SHA-256 runs beside the disk, and on two cores
        parts = threads.submit(lambda: {part: bytes_digest(values) for part, values in parts_of(ordered).items()})
        whole: Future[str] = Future()

        def write(temporary: Path) -> None:
            nonlocal whole
            module.write(temporary, ordered)
            whole = threads.submit(open_file_digest, temporary.open("rb"))

        write_file(path, write)
    layout = module.layout(path, types, rows)
    extents = {part: Extent(*layout[part], digest) for part, digest in parts.result().items()}
    return ShardRecord(file, rows, path.stat().st_size, whole.result(), rows_digest(columns), extents)
