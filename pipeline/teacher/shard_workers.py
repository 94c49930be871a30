"""Sharing out the shards of a cache: in this process, over several of this machine, and with other machines that
joined.

A shard is claimed before it is computed, so nobody computes it twice; the claim of a process that died is free again.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline.cache.format import arrow
from pipeline.cache.format.columns import ColumnType
from pipeline.cache.format.manifest import MANIFEST, TEACHER, Manifest, ShardRecord
from pipeline.cache.shard_sources import map_file
from pipeline.cache.writer import CacheWriter
from pipeline.data.splits import Split
from pipeline.errors import BadCache
from pipeline.system.cpu import available_cores
from pipeline.system.files import write_file
from pipeline.system.lease import PARTIAL, Lease
from pipeline.teacher.forward import TeacherPass, teacher_pass

POLL_SECONDS = 0.5
Advance = Callable[[int], object]
ShardTask = tuple[str, int, int, int]  # split, shard, first example, the one after the last


@dataclass(frozen=True)
class ShardPool:
    """Who computes here: `size` shards at a time. `advance` moves the bar on by examples that nobody here computed,
    and by what was computed since it was last called.
    """

    size: int
    submit: Callable[[ShardTask], "Future[ShardRecord]"]
    advance: Advance


def process_shards(
    writer: CacheWriter, work: Sequence[ShardTask], pool: ShardPool
) -> dict[tuple[str, int], ShardRecord]:
    """The records of all shards of `work`: computed here unless they are there or another process is at them."""
    records: dict[tuple[str, int], ShardRecord] = {}
    todo, running = list(work), dict[Future, tuple[ShardTask, Lease]]()
    try:
        while todo or running:
            for item in list(todo):
                if len(running) >= pool.size:
                    break
                split, index, start, stop = item
                claim = writer.claim(split, index)
                record = writer.written(split, index)
                if record is None and claim.acquire() is None:
                    record = writer.written(split, index)  # another process may have finished it just before,
                    if record is None and (finished := _finished(writer)) is not None:  # or the whole cache
                        claim.release()
                        records |= {(s, i): finished.splits[s].shards[i] for s, i, *_ in todo}
                        pool.advance(sum(last - first for *_, first, last in todo))
                        todo.clear()
                        break
                    if record is None:
                        running[_submitted(pool, item, claim)] = item, claim
                        todo.remove(item)
                        continue
                    claim.release()
                if record is not None:
                    records[split, index] = record
                    todo.remove(item)
                    pool.advance(stop - start)
            if running:
                done, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    (split, index, *_), claim = running[future]
                    records[split, index] = future.result()
                    del running[future]
                    claim.release()
                pool.advance(0)
            elif todo:
                time.sleep(POLL_SECONDS)
    except BrokenProcessPool as error:
        raise BadCache(
            f"{writer.directory}: a worker process died (out of memory?). Run the same command again, with fewer "
            "--workers if it does again: finished shards are kept"
        ) from error
    finally:
        for _, claim in running.values():
            claim.release()
    return records


def _finished(writer: CacheWriter) -> Manifest | None:
    """The manifest, if another process has written it and removed the records of the shards."""
    return writer.finished() if (writer.directory / MANIFEST).is_file() else None


def _submitted(pool: ShardPool, item: ShardTask, claim: Lease) -> "Future[ShardRecord]":
    try:
        return pool.submit(item)
    except BaseException:
        claim.release()
        raise


def in_this_process(
    writer: CacheWriter, splits: Mapping[str, Split], running: TeacherPass, advance: Advance, computed: Advance
) -> ShardPool:
    """This process alone, computing at once what is submitted."""

    def submit(item: ShardTask) -> "Future[ShardRecord]":
        future: Future[ShardRecord] = Future()
        future.set_result(_make(writer, splits, running, item, computed))
        return future

    return ShardPool(1, submit, advance)


@contextmanager
def in_processes(
    writer: CacheWriter,
    manifest: Manifest,
    splits: Mapping[str, Split],
    workers: int,
    advance: Advance,
    computed: Advance,
) -> Iterator[ShardPool]:
    """`workers` processes that read the rows from files and the teacher from the cache."""
    rows = writer.directory / PARTIAL / "rows"
    for name, split in splits.items():
        columns = {column: split.shards[0][column] for column in row_types(manifest)}
        write_file(rows / f"{name}.arrow", partial(arrow.write, columns=columns))
    context = multiprocessing.get_context("spawn")
    counter, number = context.Value("q", 0), context.Value("i", 0)
    kinds = {name: (len(split), split.labelled) for name, split in splits.items()}
    cores = max(1, available_cores() // workers)
    arguments = (writer.directory, manifest, kinds, cores, counter, number)
    pool = ProcessPoolExecutor(workers, context, _start_worker, arguments)
    counted = 0

    def submit(item: ShardTask) -> "Future[ShardRecord]":
        return pool.submit(_work, item)

    def advance_by(others: int) -> None:
        nonlocal counted
        now = counter.get_obj().value  # without the lock, which a worker that was killed may hold
        advance(others)
        computed(now - counted)
        counted = now

    try:
        yield ShardPool(workers, submit, advance_by)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()


_worker = SimpleNamespace()  # what a worker process works with, set when it starts


def _start_worker(
    directory: Path, manifest: Manifest, kinds: Mapping[str, tuple[int, bool]], cores: int, counter: Any, number: Any
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait_for_end([parent.sentinel]), os._exit(1)), daemon=True).start()
    import torch

    from pipeline.models.accelerator import make_accelerator
    from pipeline.models.checkpoints import load_classifier

    with number.get_lock():
        place, number.value = number.value, number.value + 1
    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())
    _worker.writer = CacheWriter(directory, manifest.fields, manifest.container)
    _worker.splits = {
        name: Split(name, [_mapped_rows(directory / PARTIAL / "rows" / f"{name}.arrow", manifest, rows)], labelled)
        for name, (rows, labelled) in kinds.items()
    }
    model = load_classifier(str(directory / TEACHER), safetensors_only=True)
    _worker.passing = teacher_pass(model, make_accelerator(manifest.fields.compute), manifest, cores)
    _worker.running = _worker.passing.__enter__()
    _worker.counter = counter


def _mapped_rows(path: Path, manifest: Manifest, rows: int) -> dict[str, Any]:
    """The columns of a split that the parent wrote."""
    types = row_types(manifest)
    data, _ = map_file(path)
    layout = arrow.layout(path, types, rows)
    parts: dict[str, np.ndarray] = {part: data[start : start + size] for part, (start, size) in layout.items()}
    return {name: kind.view(name, [parts[part] for part in kind.parts(name)], rows) for name, kind in types.items()}


def row_types(manifest: Manifest) -> dict[str, ColumnType]:
    """The columns that are there before the teacher has run."""
    return {n: kind for n, kind in manifest.column_types().items() if not kind.target}


def _work(item: ShardTask) -> ShardRecord:
    return _make(_worker.writer, _worker.splits, _worker.running, item, _count)


def _count(examples: int) -> None:
    with _worker.counter.get_lock():
        _worker.counter.value += examples


def _make(
    writer: CacheWriter, splits: Mapping[str, Split], running: TeacherPass, item: ShardTask, advance: Advance
) -> ShardRecord:
    split, index, start, stop = item
    columns = running.shard(splits[split], start, stop, advance)
    return writer.write_shard(split, index, columns, running.manifest.column_types())
