"""Workers that compute shards: this process, or several processes of this machine."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from pipeline.cache.format import arrow
from pipeline.cache.format.columns import ColumnType
from pipeline.cache.format.manifest import TEACHER, Manifest, ShardRecord
from pipeline.cache.writer import CacheWriter
from pipeline.data.ragged import Column
from pipeline.data.splits import Split, shard_ranges, slice_examples
from pipeline.system.child_process import end_with_parent, process_context, select_gpu
from pipeline.system.cpu import available_cores
from pipeline.system.files import write_file
from pipeline.system.lease import PARTIAL
from pipeline.system.mapped_files import map_file
from pipeline.teacher.forward import teacher_pass
from pipeline.teacher.shard_queue import Advance, ShardPool, ShardTask


class ShardMaker(Protocol):
    """A maker of the columns of a shard, as `TeacherPass` does."""

    manifest: Manifest

    def shard(self, split: Split, start: int, stop: int, advance: Callable[[int], object]) -> dict[str, Column]:
        """Return the columns of examples start..stop-1; `advance` is called with numbers of examples."""
        ...


def in_this_process(
    writer: CacheWriter, splits: Mapping[str, Split], running: ShardMaker, advance: Advance, computed: Advance
) -> ShardPool:
    """Return a pool of this process alone, which computes each shard when it is submitted."""

    def submit(task: ShardTask) -> "Future[ShardRecord]":
        future: Future[ShardRecord] = Future()
        future.set_result(_compute(writer, splits, running, task, computed))
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
    """Yield a pool of `workers` processes, which read the rows from files and the teacher from the cache."""
    rows = int(manifest.fields.shard_rows)
    for name, split in splits.items():
        for index, (start, stop) in enumerate(shard_ranges(len(split), rows)):
            examples = slice_examples(split, start, stop)
            columns = {column: examples[column] for column in row_types(manifest)}
            write_file(_rows_file(writer.directory, name, index), partial(arrow.write, columns=columns))
    context = process_context()
    examples, started = context.Value("q", 0), context.Value("i", 0)  # computed examples, started workers
    shapes = {name: (len(split), split.labelled) for name, split in splits.items()}
    cores = max(1, available_cores() // workers)
    arguments = (writer.directory, manifest, shapes, cores, examples, started)
    pool = ProcessPoolExecutor(workers, context, _start_worker, arguments)
    reported = 0

    def submit(task: ShardTask) -> "Future[ShardRecord]":
        return pool.submit(_work, task)

    def advance_by(finished: int) -> None:
        nonlocal reported
        now = examples.get_obj().value  # without the lock, which a worker that was killed may hold
        advance(finished)
        computed(now - reported)
        reported = now

    try:
        yield ShardPool(workers, submit, advance_by)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()


_worker = SimpleNamespace()  # of a worker process: writer, splits, teacher and counter, set when it starts


def _start_worker(
    directory: Path, manifest: Manifest, shapes: Mapping[str, tuple[int, bool]], cores: int, examples: Any, started: Any
) -> None:
    """Open the rows and load the teacher in a new worker process. `shapes` are (rows, labelled) of each split."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    end_with_parent()
    from pipeline.models.accelerator import make_accelerator
    from pipeline.models.checkpoints import load_classifier

    with started.get_lock():
        index, started.value = started.value, started.value + 1
    select_gpu(index)
    _worker.writer = CacheWriter(directory, manifest.fields, manifest.container)
    _worker.splits = {
        name: Split(name, _mapped_shards(directory, manifest, name, rows), labelled)
        for name, (rows, labelled) in shapes.items()
    }
    model = load_classifier(str(directory / TEACHER), safetensors_only=True)
    _worker.passing = teacher_pass(model, make_accelerator(manifest.fields.compute), manifest, cores)
    _worker.running = _worker.passing.__enter__()
    _worker.examples = examples


def _rows_file(directory: Path, split: str, index: int) -> Path:
    """Return the file in which the parent passes the rows of a shard to its workers."""
    return directory / PARTIAL / "rows" / f"{split}-{index:05d}.arrow"


def _mapped_shards(directory: Path, manifest: Manifest, split: str, rows: int) -> list[dict[str, Any]]:
    """Return the columns of each shard of a split that the parent wrote."""
    return [
        _mapped_rows(_rows_file(directory, split, index), manifest, stop - start)
        for index, (start, stop) in enumerate(shard_ranges(rows, int(manifest.fields.shard_rows)))
    ]


def _mapped_rows(path: Path, manifest: Manifest, rows: int) -> dict[str, Any]:
    """Return the columns of a shard that the parent wrote."""
    types = row_types(manifest)
    data, _ = map_file(path)
    layout = arrow.layout(path, types, rows)
    parts: dict[str, np.ndarray] = {part: data[start : start + size] for part, (start, size) in layout.items()}
    return {name: kind.view(name, [parts[part] for part in kind.parts(name)], rows) for name, kind in types.items()}


def row_types(manifest: Manifest) -> dict[str, ColumnType]:
    """Return the columns that exist before the teacher has run."""
    return {name: kind for name, kind in manifest.column_types().items() if not kind.target}


def _work(task: ShardTask) -> ShardRecord:
    return _compute(_worker.writer, _worker.splits, _worker.running, task, _count)


def _count(examples: int) -> None:
    with _worker.examples.get_lock():
        _worker.examples.value += examples


def _compute(
    writer: CacheWriter, splits: Mapping[str, Split], running: ShardMaker, task: ShardTask, advance: Advance
) -> ShardRecord:
    split, index, start, stop = task
    columns = running.shard(splits[split], start, stop, advance)
    return writer.write_shard(split, index, columns, running.manifest.column_types())
