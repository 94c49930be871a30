"""The command `cache pull`: download the missing files of a published cache; the manifest last."""

import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache.format.manifest import FileRecord, Manifest
from pipeline.cache.reader import schema_problems
from pipeline.cache.remote.published import Published
from pipeline.cache.remote.transfers import Transfers
from pipeline.cache.writer import CacheWriter
from pipeline.config.cache import CachePullConfig
from pipeline.errors import BadCache
from pipeline.system.digests import intact
from pipeline.system.files import write_file
from pipeline.system.progress import bar, note
from pipeline.teacher.preflight import check_space


@dataclass(frozen=True)
class PullResult:
    """The downloaded cache, and the bytes that were moved."""

    command: str
    out: str
    url: str
    seconds: float
    identity: str
    content: str
    files: int
    bytes_moved: int
    bytes_total: int


def run(config: CachePullConfig) -> PullResult:
    """Download a cache, comparing every byte with the manifest; an interrupted call continues where it stopped.

    Raises a `DistillError`; a directory that holds something else is not changed.
    """
    started = time.monotonic()
    published, directory = Published(config.url), Path(config.cache)
    manifest, data = published.read()
    writer = CacheWriter(directory, manifest.fields, manifest.container, "DIR")
    moved = 0
    if (finished := writer.finished()) is not None:
        _refuse_other_content(directory, finished, manifest)
        note(f"{directory} is already this cache, complete")
    else:
        writer.start()
        try:
            moved = _fetch(published, manifest, directory, writer)
            for file, problem in schema_problems(directory, manifest).items():
                raise published.damaged(file, problem)
            writer.finish(manifest, data)
        finally:
            writer.close()
        moved += len(data)
    records = manifest.files()
    return PullResult(
        "cache pull",
        str(directory),
        published.url,
        round(time.monotonic() - started, 2),
        manifest.identity,
        manifest.content,
        len(records) + 1,
        moved,
        sum(record.bytes for record in records.values()) + len(data),
    )


def _fetch(published: Published, manifest: Manifest, directory: Path, writer: CacheWriter) -> int:
    """Download the files that are missing or damaged; return the bytes downloaded."""
    records = manifest.files()
    shards = {
        shard.file: (split, index, shard)
        for split, record in manifest.splits.items()
        for index, shard in enumerate(record.shards)
    }
    missing = {file: record for file, record in records.items() if not _is_there(directory / file, record)}
    total, to_come = (sum(record.bytes for record in part.values()) for part in (records, missing))
    check_space(directory, to_come, "DIR")
    with bar(total, "pull", "B", done=total - to_come) as progress:
        transfers = Transfers(progress)

        def fetch(file: str) -> None:
            record = records[file]

            def write(target: Path) -> None:
                published.download(file, record.sha256, 0, record.bytes, record.sha256, target, transfers)

            write_file(directory / file, write)
            if file in shards:
                writer.record(*shards[file])

        transfers.run(fetch, missing)
    return transfers.moved


def _is_there(path: Path, record: FileRecord) -> bool:
    return path.is_file() and path.stat().st_size == record.bytes and intact(path, record.sha256)


def _refuse_other_content(directory: Path, finished: Manifest, manifest: Manifest) -> None:
    if finished.content != manifest.content:
        raise BadCache(
            f"{directory} holds another copy of this cache (content {finished.content[:12]}… ≠ "
            f"{manifest.content[:12]}…: another machine computed it). Name another DIR"
        )
