"""A cache to be made: its checks before anything is written, its shards, its teacher's metrics, its manifest."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pipeline.cache.format.manifest import Manifest, ShardRecord, SplitRecord
from pipeline.cache.shard_sources import LocalSource
from pipeline.cache.shards import open_split
from pipeline.cache.writer import CacheWriter
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.splits import Split, selection_split, shard_ranges
from pipeline.data.tasks import DEV, role_of
from pipeline.errors import BadModel
from pipeline.system.formatting import duration, size
from pipeline.system.progress import bar, note
from pipeline.teacher import preflight
from pipeline.teacher.shard_queue import ShardTask, process_shards
from pipeline.teacher.target_maker import TargetMaker
from pipeline.training.provenance import environment

POLL_SECONDS = 1.0
Records = dict[tuple[str, int], ShardRecord]


@dataclass(frozen=True)
class CacheJob:
    """A cache to be made: what is known before its targets, and what makes them.

    `other_nodes` is entered while shards are made: it lets other machines share them.
    """

    config: CacheTeacherConfig
    writer: CacheWriter
    manifest: Manifest
    maker: TargetMaker
    splits: Mapping[str, Split]
    other_nodes: AbstractContextManager[Any] = field(default_factory=nullcontext)

    @cached_property
    def work(self) -> list[ShardTask]:
        """All shards, those of dev splits first: they show whether the teacher is worth the rest."""
        ordered = sorted(self.splits, key=lambda name: role_of(name) != DEV)
        rows = self.config.shard_rows
        return [(n, i, *shard) for n in ordered for i, shard in enumerate(shard_ranges(len(self.splits[n]), rows))]

    def check(self) -> None:
        """Report what the rest needs. Raises a `DistillError` if it is not available; nothing is written yet."""
        writer, manifest = self.writer, self.manifest
        preflight.check_shards(len(self.work))
        preflight.check_labels(manifest)
        remaining = [item for item in self.work if writer.recorded(*item[:2]) is None]
        needed = preflight.bytes_needed(manifest, self.splits, remaining)
        if writer.teacher_files() is None:
            needed += self.maker.file_bytes()
        free = preflight.check_space(writer.directory, needed)
        seconds = self.maker.seconds(manifest, self.splits, remaining)
        examples = sum(stop - start for *_, start, stop in remaining)
        note(
            f"{writer.directory}: {examples:,} examples in {len(remaining)} shards, "
            f"[CLS] of layers {', '.join(map(str, manifest.layers)) or 'none'}; {size(needed)} needed, "
            f"{size(free)} free; about {duration(seconds)} by a measured batch"
        )

    def write(self, made: Mapping[str, Any], started: float) -> Manifest:
        """Everything that is written, from the lease to the manifest. A weak teacher leaves nothing behind."""
        writer, maker = self.writer, self.maker
        try:
            owner, finished = self._lead(self.config.join)
            if not owner:
                note(f"{writer.directory}: sharing the work of another process")
            while not owner and finished is None and writer.teacher_files() is None:  # workers read it from there
                time.sleep(POLL_SECONDS)
                owner, finished = self._lead(join=True)
            if finished is not None:
                return finished
            teacher_files = maker.write_files(writer) if owner else None
            records, forward = self._compute()
            while not owner:  # whoever holds the lease finishes; if it dies, the work is there and this process does
                owner, finished = self._lead(join=True)
                if finished is not None:
                    return finished
                if not owner:
                    time.sleep(POLL_SECONDS)
            manifest = self._with_records(records)
            metrics = {name: self._metrics(manifest, name) for name, split in self.splits.items() if split.labelled}
            manifest = replace(
                manifest,
                teacher_files=teacher_files or maker.write_files(writer),
                teacher_metrics=metrics,
                made={**made, "seconds": round(time.monotonic() - started, 2), **forward, "environment": environment()},
            )
            writer.finish(manifest)
            return manifest
        except BadModel:  # a teacher that cannot be cached leaves nothing behind
            writer.discard()
            raise
        finally:
            writer.close()

    def _lead(self, join: bool) -> tuple[bool, Manifest | None]:
        """Return whether this process holds the cache's lease now, and the manifest if another finished the cache."""
        return self.writer.start(join), self.writer.finished()

    def _compute(self) -> tuple[Records, dict[str, float]]:
        """Return the records of all shards, and how many examples were computed in which time.

        The selection split is computed first, and a teacher that is weak there is refused.
        """
        config, writer, manifest, splits = self.config, self.writer, self.manifest, self.splits
        selection = selection_split(splits)
        done, started = [0], time.monotonic()
        with ExitStack() as stack:
            progress = stack.enter_context(bar(sum(map(len, splits.values())), f"cache {manifest.task.name}", "ex"))

            def computed(examples: int) -> None:
                done[0] += examples
                progress.update(examples)

            pool = stack.enter_context(self.maker.pool(writer, manifest, splits, progress.update, computed))
            stack.enter_context(self.other_nodes)
            first = [item for item in self.work if item[0] == selection]
            records = process_shards(writer, first, pool)
            if selection and not config.allow_weak_teacher:
                logits = self._open(self._with_records(records), selection).column("logits")
                preflight.check_teacher(self.maker.task, selection, logits, splits[selection].labels)
            records |= process_shards(writer, [item for item in self.work if item[0] != selection], pool)
        return records, {"computed_examples": done[0], "computing_seconds": round(time.monotonic() - started, 3)}

    def _with_records(self, records: Records) -> Manifest:
        """Return the manifest with these shards."""
        splits = {
            name: SplitRecord(
                split.labelled,
                tuple(record for (split_name, _), record in sorted(records.items()) if split_name == name),
            )
            for name, split in self.splits.items()
        }
        return replace(self.manifest, splits=splits)

    def _open(self, manifest: Manifest, name: str) -> Split:
        """Return a split of the cache, which does not have a manifest yet."""
        return open_split(LocalSource(self.writer.directory), manifest, name)

    def _metrics(self, manifest: Manifest, name: str) -> dict[str, float]:
        """Return the teacher's metrics on a labelled split, from the logits as they were written."""
        split = self._open(manifest, name)
        metrics = manifest.task_metrics.measure(split.column("logits"), split.labels)
        if (doubt := manifest.kind.doubt(metrics)) is not None:
            note(f"warning: on {name} the teacher's {doubt}. Check the teacher")
        return metrics
