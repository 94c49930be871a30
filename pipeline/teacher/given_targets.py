"""Targets that came with the rows make a cache: no model runs, and there are neither tokens nor teacher/ in it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.cache.format.columns import LOGITS
from pipeline.cache.format.identity import OF_A_MODEL, CacheIdentity
from pipeline.cache.format.manifest import FORMAT_VERSION, FileRecord, Manifest, ModelRecord, TaskRecord
from pipeline.cache.writer import CacheWriter
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.ragged import Column
from pipeline.data.rows.choices import ChoiceRows
from pipeline.data.rows.rows import SplitRows, TaskRows
from pipeline.data.splits import TEXT_HASH, Split, slice_examples, split_digest
from pipeline.data.spool import Spool, make_splits
from pipeline.data.tasks import Task
from pipeline.data.texts import text_columns
from pipeline.teacher.shard_queue import Advance, ShardPool, ShardTask
from pipeline.teacher.shard_workers import in_this_process

NOT_A_MODEL = "the cache has neither tokens nor a teacher/: train-student needs --init MODEL, and --method ft or kd"


@dataclass
class StoredTargets:
    """A `ShardMaker` of splits that have their targets."""

    manifest: Manifest

    def shard(self, split: Split, start: int, stop: int, advance: Callable[[int], object]) -> dict[str, Column]:
        """Return the columns of the shard of examples start..stop-1."""
        advance(stop - start)
        return slice_examples(split, start, stop)


@dataclass(frozen=True)
class GivenTargets:
    """A `TargetMaker` of rows that have targets; `name` is that of the teacher which made them."""

    name: str
    task: Task

    @property
    def way_on(self) -> str:
        """The way on from a weak teacher."""
        return "Check --target-columns"

    def examples(self, rows: TaskRows, config: CacheTeacherConfig, spool: Spool) -> dict[str, Split]:
        """Return the splits with texts, labels and logits; their texts identify the rows."""
        return make_splits(rows, _split, config.shard_rows, spool)

    def manifest(self, config: CacheTeacherConfig, splits: Mapping[str, Split]) -> Manifest:
        """Return the identity, which has the teacher's name and the digest of all logits, and the columns."""
        task = self.task
        identity = CacheIdentity(
            format=FORMAT_VERSION,
            **OF_A_MODEL,
            splits={split: split_digest(part, config.shard_rows) for split, part in splits.items()},
            layers=(),
            labels=task.labels,
            shard_rows=config.shard_rows,
            dtype=config.dtype,
            sequences=task.kind.sequences(task.num_logits),
            kind=task.kind.name,
            texts=len(task.text_columns),
            teacher_name=self.name,
            target_values=hashlib.sha256("".join(map(_logits_digest, splits.values())).encode()).hexdigest(),
        )
        record = TaskRecord(task.name, task.labels, task.metrics, task.kind.settings, task.text_columns)
        return Manifest(identity, config.format, record, ModelRecord.without_model(task.num_logits))

    def file_bytes(self) -> int:
        """Return 0: there is no teacher/."""
        return 0

    def write_files(self, writer: CacheWriter) -> dict[str, FileRecord]:
        """Return no records: there is no teacher/."""
        return {}

    def is_ready(self, writer: CacheWriter) -> bool:
        """Return True: rows and targets are all that it takes."""
        return True

    def doubts(self, config: CacheTeacherConfig, splits: Mapping[str, Split]) -> list[str]:
        """Return none."""
        return []

    def outlook(self, manifest: Manifest, splits: Mapping[str, Split], work: Sequence[ShardTask]) -> tuple[str, str]:
        """Return what the cache has and lacks; no model runs."""
        return f"the targets of {self.name}", f"no model runs; {NOT_A_MODEL}"

    @contextmanager
    def pool(
        self, writer: CacheWriter, manifest: Manifest, splits: Mapping[str, Split], advance: Advance, computed: Advance
    ) -> Iterator[ShardPool]:
        """Yield this process: it has the targets."""
        yield in_this_process(writer, splits, StoredTargets(manifest), advance, computed)


def _split(name: str, rows: SplitRows) -> Split:
    """Return the columns of rows that have targets as a split of one shard."""
    assert rows.targets is not None
    columns = text_columns(rows.texts, rows.choices if isinstance(rows, ChoiceRows) else ())
    shard = {"example_id": np.arange(len(rows), dtype=np.int64), "row_hash": columns.pop(TEXT_HASH)}
    return Split(name, [{**shard, **columns, "label": rows.labels, LOGITS: rows.targets}], rows.labelled)


def _logits_digest(split: Split) -> str:
    """Return the SHA-256 of the logits of all examples, as little-endian float32."""
    digest = hashlib.sha256()
    for shard in split.shards:
        digest.update(np.ascontiguousarray(shard[LOGITS], "<f4").tobytes())
    return digest.hexdigest()
