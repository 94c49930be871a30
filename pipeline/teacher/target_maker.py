"""The questions to what makes the targets of a cache: a model that runs here, or whatever else has them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline.cache.format.manifest import FileRecord, Manifest
from pipeline.cache.writer import CacheWriter
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.rows.rows import TaskRows
from pipeline.data.splits import Split
from pipeline.data.spool import Spool
from pipeline.data.tasks import Task
from pipeline.teacher.shard_queue import Advance, ShardPool, ShardTask


class TargetMaker(Protocol):
    """A maker of the targets of a cache. Its task has the classes in the order of its logits."""

    @property
    def name(self) -> str:
        """The name in messages and in the manifest."""
        ...

    @property
    def task(self) -> Task:
        """The task, with its classes in the order of the logits."""
        ...

    @property
    def way_on(self) -> str:
        """The way on from a weak teacher, in words."""
        ...

    def examples(self, rows: TaskRows, config: CacheTeacherConfig, spool: Spool) -> dict[str, Split]:
        """Return the splits of the rows: one shard each, but those of the transfer rows have the cache's shards."""
        ...

    def manifest(self, config: CacheTeacherConfig, splits: Mapping[str, Split]) -> Manifest:
        """Return what is known before the first target is made: the identity and the shape of the columns."""
        ...

    def file_bytes(self) -> int:
        """Return the bytes of its files in the cache. Raises `BadModel` for what cannot be kept there."""
        ...

    def write_files(self, writer: CacheWriter) -> dict[str, FileRecord]:
        """Write its files into the cache unless they exist; return their records."""
        ...

    def doubts(self, config: CacheTeacherConfig, splits: Mapping[str, Split]) -> list[str]:
        """Return in words why these rows may not be those that it is for."""
        ...

    def outlook(self, manifest: Manifest, splits: Mapping[str, Split], work: Sequence[ShardTask]) -> tuple[str, str]:
        """Return in words what it makes, and how long these shards will take."""
        ...

    def is_ready(self, writer: CacheWriter) -> bool:
        """Return whether the cache has what a process that joins needs to make shards."""
        ...

    def pool(
        self, writer: CacheWriter, manifest: Manifest, splits: Mapping[str, Split], advance: Advance, computed: Advance
    ) -> AbstractContextManager[ShardPool]:
        """Open the workers that make shards; `advance` and `computed` are called with numbers of examples."""
        ...
