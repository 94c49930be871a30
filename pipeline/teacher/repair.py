"""Repairs of damaged files of a cache: from another copy, or computed from its intact files and its rows.

A damaged file is replaced only by one with the digest in the manifest.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.manifest import TEACHER, FileRecord, Manifest
from pipeline.cache.shard_sources import LocalSource
from pipeline.cache.shard_writer import write_shard
from pipeline.cache.shards import Shard
from pipeline.cache.teacher_config import check_teacher_config
from pipeline.config.options import option_name
from pipeline.config.rows import ROW_PATHS, CacheRowsConfig
from pipeline.data.ragged import Column
from pipeline.data.rows.sources import load_rows
from pipeline.data.splits import Split, slice_examples, split_digest
from pipeline.data.spool import Spool
from pipeline.data.tables.places import missing, name_of
from pipeline.data.tasks import TRANSFER
from pipeline.data.tokenize import tokenize_rows
from pipeline.errors import BadCache, BadRows
from pipeline.models.accelerator import make_accelerator
from pipeline.models.checkpoints import load_classifier, load_tokenizer
from pipeline.system.cpu import available_cores
from pipeline.system.digests import intact
from pipeline.system.files import sync_directory
from pipeline.system.lease import PARTIAL
from pipeline.teacher.forward import TeacherPass, teacher_pass
from pipeline.training.provenance import environment

OF_TASK, OF_TRANSFER = "--data-dir or --train-file", "--unlabelled-file"
OTHER_COPY = "name another copy with --from"
Fetch = Callable[[str, FileRecord, Path], bool]  # path in the cache, its record, target; False: not available


class Repair:
    """Repairs of one cache, as a context. `rows` are the paths of its rows, None if they are unknown."""

    def __init__(self, directory: Path, manifest: Manifest, fetch: Fetch | None, rows: CacheRowsConfig | None):
        self.directory, self.manifest, self.fetch, self.rows = directory, manifest, fetch, rows
        self.shards = {
            record.file: Shard(LocalSource(directory), manifest, name, index)
            for name, split in manifest.splits.items()
            for index, record in enumerate(split.shards)
        }
        self._stack = ExitStack()

    def __enter__(self) -> "Repair":
        scratch = self.directory / PARTIAL
        self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=scratch, prefix="repair-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def file(self, file: str) -> str | None:
        """Replace a damaged file. Return the reason for which it could not be repaired, or None."""
        record, repaired = self.manifest.files()[file], self._scratch / "file"
        if self.fetch and self.fetch(file, record, repaired) and intact(repaired, record.sha256):
            self._replace(repaired, file)
            return None
        if file not in self.shards:
            return "only another copy of this cache has it: name one with --from DIR or URL"
        try:
            columns = self._columns(self.shards[file])
        except (BadCache, BadRows) as error:
            return str(error)
        write_shard(repaired, file, self.manifest.container, columns, self.manifest.column_types())
        if not intact(repaired, record.sha256):
            before, now = self.manifest.made.get("environment", {}), environment()
            differences = [
                f"{key}: {before.get(key)} ≠ {now[key]}"
                for key in ("device", "packages")
                if before.get(key) != now[key]
            ]
            return (
                "computed again it has other bytes than when it was made "
                f"({'; '.join(differences) or 'on the same kind of machine'}). Name another copy with --from DIR or URL"
            )
        self._replace(repaired, file)
        return None

    def _replace(self, repaired: Path, file: str) -> None:
        target = self.directory / file
        target.parent.mkdir(exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            raise BadCache(
                f"{target} is a directory in the place of a file. Move it away, then run the same command again"
            )
        repaired.rename(target)
        sync_directory(target.parent)

    def _columns(self, shard: Shard) -> dict[str, Column]:
        """Return the columns of a shard: intact ones as they are, rows from their files, targets from the teacher."""
        columns: dict[str, Column] = {}
        try:
            damaged = {part.partition("/")[0] for part in shard.damaged_parts()}
        except BadCache:  # missing, or of another size
            damaged = set(shard.types)
        rows = [name for name, kind in shard.types.items() if not kind.target]
        if not self.manifest.has_teacher:
            raise BadCache(
                "its targets were made elsewhere: name another copy with --from DIR or URL, whose shards are "
                f"{self.manifest.container} files too (cache convert makes one)"
            )
        if damaged.intersection(rows):
            damaged.update(rows)
        for name in shard:
            if name not in damaged:
                columns[name] = shard[name]
        start, stop = shard.first_id, shard.first_id + shard.record.rows
        if damaged.intersection(rows):
            columns |= slice_examples(self._splits[shard.split], start, stop)
        if damaged.difference(rows):
            examples = {name: columns[name] for name in rows} | {"example_id": np.arange(shard.record.rows)}
            split = Split(shard.split, [examples], True)
            computed = self._teacher.shard(split, 0, shard.record.rows, lambda _: None)
            columns |= {name: computed[name] for name in damaged.difference(rows)}
        return {name: columns[name] for name in shard}

    @cached_property
    def _teacher(self) -> TeacherPass:
        """The teacher in the cache, ready to run."""
        self._check_teacher()
        model = load_classifier(str(self.directory / TEACHER), safetensors_only=True)
        accelerator = make_accelerator(self.manifest.fields.compute)
        return self._stack.enter_context(teacher_pass(model, accelerator, self.manifest, available_cores()))

    def _check_teacher(self) -> None:
        """Raise `BadCache` unless the teacher in the cache is intact."""
        for name, record in self.manifest.teacher_files.items():
            if not intact(self.directory / TEACHER / name, record.sha256):
                raise BadCache(f"the teacher in it is damaged too ({TEACHER}/{name}): name another copy with --from")
        check_teacher_config(self.directory / TEACHER, self.manifest)

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """The rows that the cache was made from, tokenized again. Raises `BadRows` if they are not available."""
        if self.rows is None:
            raise BadRows(
                f"its rows came from {self.manifest.made.get('rows_from')}: say where they are with {OF_TASK}, or "
                f"{OTHER_COPY}"
            )
        self._check_teacher()
        for option in ROW_PATHS:
            if (place := missing({option: getattr(self.rows, option)})) is not None:
                raise BadRows(
                    f"{name_of(place)} is not there any more: say where its rows are with {option_name(option)}, or "
                    f"{OTHER_COPY}"
                )
        rows = load_rows(self.rows)
        tokenizer = load_tokenizer(str(self.directory / TEACHER))
        fields = self.manifest.fields
        splits = tokenize_rows(
            rows,
            self.manifest.task.labels,
            tokenizer,
            fields.max_length,
            fields.shard_rows,
            Spool(self._scratch),
            texts=fields.texts > 0,
        )
        for name, expected in self.manifest.fields.splits.items():
            if name not in splits or split_digest(splits[name], int(self.manifest.fields.shard_rows)) != expected:
                is_stream = name == TRANSFER and rows.transfer is not None
                origin, options = (OF_TRANSFER, OF_TRANSFER) if is_stream else (rows.origin, OF_TASK)
                raise BadRows(
                    f"the rows of split {name} ({origin}) are not those that the cache was made from: say where "
                    f"these are with {options}, or {OTHER_COPY}"
                )
        return splits


def rows_of(manifest: Manifest, known: CacheRowsConfig | None, given: Mapping[str, Any]) -> CacheRowsConfig | None:
    """Return the paths of a cache's rows: `known` to this user, else in the manifest; `given` options replace them."""
    changed = {name: value for name, value in given.items() if value}
    fields = {field.name for field in dataclasses.fields(CacheRowsConfig)}
    recorded = manifest.made.get("rows")
    if known is not None or not isinstance(recorded, dict) or not {"task"} <= set(recorded) <= fields:
        recorded = None
    if recorded and (changed or missing(recorded) is None):
        known = CacheRowsConfig(**recorded)
    return dataclasses.replace(known, **changed) if known else None
