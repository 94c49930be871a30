"""The command `cache push`: upload the missing files of a cache by their digests; the manifest, then its card."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache.card import dataset_card, teacher_intervals
from pipeline.cache.format.manifest import MANIFEST, Manifest
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache, schema_problems
from pipeline.cache.remote.published import Published
from pipeline.cache.remote.transfers import Transfers
from pipeline.cache.remote.uploads import upload
from pipeline.config.cache import CachePushConfig
from pipeline.errors import BadCache
from pipeline.system.progress import bar, note


@dataclass(frozen=True)
class PushResult:
    """The published cache, and the bytes that were moved."""

    command: str
    url: str
    seconds: float
    identity: str
    content: str
    files: int
    bytes_moved: int
    bytes_total: int


def run(config: CachePushConfig) -> PushResult:
    """Upload a cache, comparing every file with the manifest before and after. Raises a `DistillError`.

    Published caches do not change: another cache at the URL is refused. Of the same cache, only files that are missing
    or damaged there are uploaded.
    """
    started = time.monotonic()
    directory = Path(config.cache)
    manifest = read_manifest(directory)
    for problem in schema_problems(directory, manifest).values():
        raise problem
    data = (directory / MANIFEST).read_bytes()
    published = Published(config.url)
    earlier = published.find()
    if earlier:
        _refuse_other(published, earlier[0], manifest)
    records = manifest.files()
    total = sum(record.bytes for record in records.values())
    moved = 0
    if earlier is None or earlier[1] == data:
        with bar(total, "push", "B") as progress:
            transfers = Transfers()

            def send(file: str) -> None:
                if upload(published, directory / file, records[file]):
                    transfers.advance(records[file].bytes)
                progress.update(records[file].bytes)

            transfers.run(send, records)
            moved = transfers.moved
    if earlier is None:
        moved += _publish(published, manifest, data)
        _publish_card(published, open_cache(directory))
    elif not moved:
        note(f"{published.url} is already this cache, complete")
    return PushResult(
        "cache push",
        published.url,
        round(time.monotonic() - started, 2),
        manifest.identity,
        manifest.content,
        len(records) + 1,
        moved,
        total + len(data),
    )


def _publish(published: Published, manifest: Manifest, data: bytes) -> int:
    """Write the manifest and read it back. Returns the bytes written; raises `BadCache` if another push was first."""
    try:
        published.remote.create(published.manifest_path, data)
        written = len(data)
    except FileExistsError:
        written = 0
    _refuse_other(published, published.read()[0], manifest)
    if not written:
        note(f"{published.url}: another push of this cache was first")
    return written


def _publish_card(published: Published, cache: Cache) -> None:
    """Write README.md beside the manifest, unless there is one; on the hub, at the top of the repository too."""
    card = dataset_card(cache.manifest, published.url, teacher_intervals(cache)).encode()
    for path in published.card_paths:
        if published.remote.describe(path) is None:
            with suppress(FileExistsError):
                published.remote.create(path, card)


def _refuse_other(published: Published, theirs: Manifest, ours: Manifest) -> None:
    """Raise `BadCache` unless both manifests are of one cache."""
    for name, remote, local in (
        ("identity", theirs.identity, ours.identity),
        ("content", theirs.content, ours.content),
    ):
        if remote != local:
            raise BadCache(
                f"{published.url} holds another cache ({name} {remote[:12]}… ≠ {local[:12]}…), and what is published "
                "does not change. Choose another URL"
            )
