"""The queue of a cache's shards, shared with other processes that write the same cache.

A shard is claimed before it is computed, so that no two processes compute it; the claim of a process that died is free
again.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from pipeline.cache.format.manifest import MANIFEST, Manifest, ShardRecord
from pipeline.cache.writer import CacheWriter
from pipeline.errors import BadCache
from pipeline.system.lease import Lease

POLL_SECONDS = 0.5
Advance = Callable[[int], object]
ShardTask = tuple[str, int, int, int]  # split, shard, first example, the one after the last


@dataclass(frozen=True)
class ShardPool:
    """The workers of this process: up to `size` shards at a time.

    `advance` moves the bar by examples of finished shards, and by those computed since it was last called.
    """

    size: int
    submit: Callable[[ShardTask], "Future[ShardRecord]"]
    advance: Advance


def process_shards(
    writer: CacheWriter, tasks: Sequence[ShardTask], pool: ShardPool
) -> dict[tuple[str, int], ShardRecord]:
    """Return the records of these shards: computed here, unless they are finished or another process computes them."""
    queue = _ShardQueue(writer, pool, list(tasks))
    try:
        while queue.waiting or queue.running:
            queue.submit()
            queue.collect()
    except BrokenProcessPool as error:
        raise BadCache(
            f"{writer.directory}: a worker process died (out of memory?). Run the same command again, with fewer "
            "--workers if it does again: finished shards are kept"
        ) from error
    finally:
        for _, claim in queue.running.values():
            claim.release()
    return queue.records


@dataclass
class _ShardQueue:
    """The shards that wait, those that run with their claims, and the records of finished ones."""

    writer: CacheWriter
    pool: ShardPool
    waiting: list[ShardTask]
    running: dict["Future[ShardRecord]", tuple[ShardTask, Lease]] = field(default_factory=dict)
    records: dict[tuple[str, int], ShardRecord] = field(default_factory=dict)

    def submit(self) -> None:
        """Submit free shards, as many as the pool takes, and record finished ones."""
        for task in list(self.waiting):
            if len(self.running) >= self.pool.size:
                return
            split, index, *_ = task
            record = self.writer.written(split, index)
            if record is None:
                claim = self.writer.claim(split, index)
                if claim.acquire() is not None:
                    continue  # another process computes it
                record = self.writer.written(split, index)  # which another process may have finished just before,
                if record is None and (manifest := self._manifest()) is not None:  # or the whole cache
                    claim.release()
                    self._record_all(manifest)
                    return
                if record is None:
                    self._start(task, claim)
                    continue
                claim.release()
            self._record(task, record)

    def collect(self) -> None:
        """Wait a moment for running shards, or for those of other processes, and record the finished ones."""
        if not self.running:
            if self.waiting:
                time.sleep(POLL_SECONDS)
            return
        done, _ = wait(self.running, POLL_SECONDS, FIRST_COMPLETED)
        for future in done:
            (split, index, *_), claim = self.running[future]
            self.records[split, index] = future.result()
            del self.running[future]
            claim.release()
        self.pool.advance(0)

    def _start(self, task: ShardTask, claim: Lease) -> None:
        try:
            future = self.pool.submit(task)
        except BaseException:
            claim.release()
            raise
        self.running[future] = task, claim
        self.waiting.remove(task)

    def _record(self, task: ShardTask, record: ShardRecord) -> None:
        split, index, start, stop = task
        self.records[split, index] = record
        self.waiting.remove(task)
        self.pool.advance(stop - start)

    def _manifest(self) -> Manifest | None:
        """Return the manifest, if another process has written it and removed the records of the shards."""
        return self.writer.finished() if (self.writer.directory / MANIFEST).is_file() else None

    def _record_all(self, manifest: Manifest) -> None:
        for task in list(self.waiting):
            split, index, *_ = task
            self._record(task, manifest.splits[split].shards[index])
