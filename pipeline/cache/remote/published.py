"""Published caches: manifest.json at the cache's URL, and its files in a shared folder, named by their digests.

    s3://bucket/mnli/manifest.json           the bytes of the manifest that was pushed, written last
    s3://bucket/mnli/README.md               its card, which is not part of the cache
    s3://bucket/blobs/3f/3f2a…               every file of every cache in the bucket's folder, by its SHA-256

Two caches that share a file share its bytes. A cache whose URL is the bucket itself has its blobs in `URL/blobs`.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.card import CARD
from pipeline.cache.format.manifest import MANIFEST, TEACHER, FileRecord, Manifest, ShardRecord
from pipeline.cache.format.manifest_validation import MAX_BYTES, parse_manifest
from pipeline.cache.reader import Cache
from pipeline.cache.remote.downloads import DownloadCache, Mapped
from pipeline.cache.remote.object_store import Remote
from pipeline.cache.remote.transfers import TRANSFERS, Transfers
from pipeline.cache.shard_sources import Piece
from pipeline.cache.user_store import VerifiedDigests
from pipeline.errors import BadCache, BadOption, DamagedCache, one_line, shell_line
from pipeline.system.digests import json_digest
from pipeline.system.formatting import size
from pipeline.system.progress import note

BLOBS = "blobs"


class Published:
    """The location of a published cache. Raises `BadOption` for a URL that cannot be one."""

    def __init__(self, url: str):
        self.remote = Remote(url)
        self.url = self.remote.url
        parent, _, name = self.remote.path.rpartition("/")
        if name == BLOBS:
            raise BadOption(f"{self.url}: {BLOBS} holds the files of published caches. Choose another name")
        self.shared = self.remote.path if self.remote.is_bucket else parent
        self.manifest_path = f"{self.remote.path}/{MANIFEST}"

    @property
    def card_paths(self) -> tuple[str, ...]:
        """The places of the card: beside the manifest, and where the hub shows the card of a repository."""
        beside = f"{self.remote.path}/{CARD}"
        top = f"{self.remote.bucket}/{CARD}" if self.remote.scheme_name == "hf" else beside
        return tuple(dict.fromkeys((beside, top)))

    def blob(self, sha256: str) -> str:
        """Return the path of a file in the store, by its digest."""
        return f"{self.shared}/{BLOBS}/{sha256[:2]}/{sha256}"

    def find(self) -> tuple[Manifest, bytes] | None:
        """Return the manifest and its bytes; None if nothing is published here. Raises `BadCache`, `BadPlace`."""
        name = f"{self.url}/{MANIFEST}"
        file = self.remote.describe(self.manifest_path)
        if file is None:
            self.remote.check_bucket()
            return None
        if file.bytes > MAX_BYTES:
            raise DamagedCache(f"{name} is damaged (it has {file.bytes:,} bytes). Push the cache to another URL")
        try:
            data = self.remote.read(self.manifest_path, 0, file.bytes)
        except (ValueError, FileNotFoundError) as error:
            raise BadCache(f"{name} changed while it was read. Run the same command again") from error
        manifest = parse_manifest(data, name)
        try:
            _check_extents(manifest)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedCache(f"{name} is damaged ({error}). Push the cache to another URL") from error
        return manifest, data

    def read(self) -> tuple[Manifest, bytes]:
        """Return the manifest and its bytes. Raises `BadCache` if nothing is published here, and `BadPlace`."""
        manifest_and_bytes = self.find()
        if manifest_and_bytes is None:
            above = self.url.rpartition("/")[0] if not self.remote.is_bucket else self.url
            raise BadCache(f"{self.url}: there is no such cache. See what there is: {shell_line('cache', 'ls', above)}")
        return manifest_and_bytes

    def damaged(self, file: str, reason: object) -> BadCache:
        """Return the error for a file of this cache that differs from the manifest."""
        return DamagedCache(
            f"{self.url}: {file} is damaged ({one_line(reason)}). "
            f"Push it again from a good copy: {shell_line('cache', 'push', 'DIR', self.url)}"
        )

    def download(
        self, file: str, sha256: str, start: int, count: int, part_sha256: str, target: Path, transfers: Transfers
    ) -> None:
        """Write `count` bytes of a file's blob to `target`. Raises `BadCache` unless their digest is `part_sha256`."""
        try:
            self.remote.download(self.blob(sha256), start, count, part_sha256, target, transfers.advance)
        except FileNotFoundError as error:
            raise self.damaged(file, "its bytes are not there") from error
        except ValueError as error:
            raise self.damaged(file, error) from error


def _check_extents(manifest: Manifest) -> None:
    """Raise ValueError for parts of sizes that their columns cannot have, before anything is downloaded."""
    types, longest = manifest.column_types(), manifest.fields.max_length * manifest.fields.sequences
    for _, shard in manifest.shards():
        for name, kind in types.items():
            for part in kind.parts(name):
                most = shard.rows * max(1, longest) * np.dtype(kind.dtype).itemsize
                if part.endswith("/offsets"):
                    least = most = 8 * (shard.rows + 1)
                elif kind.text:
                    least, most = 0, shard.bytes
                else:
                    least = 1 if kind.width is None else (most := kind.bytes(shard.rows))
                if not least <= shard.parts[part].bytes <= most:
                    raise ValueError(f"{part} of {shard.file} has {shard.parts[part].bytes} bytes")


class PublishedSource:
    """The shards of a published cache: parts that are used are downloaded once into the store and mapped there."""

    def __init__(self, published: Published, manifest: Manifest, downloads: DownloadCache):
        self.published, self.manifest, self.downloads = published, manifest, downloads
        self.teacher = downloads.teacher(json_digest({n: r.sha256 for n, r in manifest.teacher_files.items()}))
        self._mapped: dict[str, Mapped] = {}
        self._using = contextlib.ExitStack()

    def __reduce__(self) -> tuple[Any, ...]:
        return PublishedSource, (self.published, self.manifest, self.downloads)  # another process maps for itself

    def _part(self, shard: ShardRecord, part: str, transfers: Transfers | None = None) -> Mapped:
        extent = shard.parts[part]
        if extent.sha256 not in self._mapped:
            transfers = transfers or Transfers()

            def download(target: Path) -> None:
                self.published.download(
                    shard.file, shard.sha256, extent.offset, extent.bytes, extent.sha256, target, transfers
                )

            self._mapped[extent.sha256] = self.downloads.get(
                self.downloads.column(extent.sha256), extent.sha256, extent.bytes, self.published.url, download
            )
        return self._mapped[extent.sha256]

    def part(self, shard: ShardRecord, part: str) -> np.ndarray:
        """Return the bytes of a part of a column, downloaded if they are not in the store."""
        return self._part(shard, part)[0] if shard.parts[part].bytes else np.empty(0, np.uint8)

    def will_need(self, shard: ShardRecord, part: str, starts: np.ndarray, length: int) -> None:
        """Do nothing: `ahead` downloads parts as a whole, before their first use."""

    def pieces(self, shard: ShardRecord, parts: Sequence[str]) -> Iterator[Piece]:
        """Yield these parts, each in its own file."""
        for part in filter(lambda part: shard.parts[part].bytes, parts):
            (data, state), sha256 = self._part(shard, part), shard.parts[part].sha256
            yield Piece(data, sha256, self.downloads.column(sha256), state)

    def damaged(self, shard: ShardRecord, reason: object) -> BadCache:
        """Return the error for a shard that differs from the manifest."""
        return self.published.damaged(shard.file, reason)

    def need(self, parts: Iterable[tuple[ShardRecord, str]]) -> None:
        """Make room for these parts. Raises `BadOption` if the store is too small for them."""
        self._need(parts)

    def _need(self, parts: Iterable[tuple[ShardRecord, str]]) -> tuple[int, int]:
        """Return (bytes of these parts that are not in the store, all bytes of them)."""
        extents = [shard.parts[part] for shard, part in parts if shard.parts[part].bytes]
        files = {self.downloads.column(extent.sha256): extent.bytes for extent in extents}
        return self.downloads.need(files, self.published.url), sum(files.values())

    def _note_download(self, missing: int, total: int, content: str) -> None:
        if missing:
            amount = f"{size(missing)} of {size(total)} of {content}"
            note(f"{self.published.url}: downloading {amount} into {self.downloads.store}")

    @contextlib.contextmanager
    def ahead(self, parts: Sequence[tuple[ShardRecord, str]]) -> Iterator[None]:
        """Download these parts while open, a few at a time, small ones first: a run starts with labels and lengths."""
        self._note_download(*self._need(parts), "columns")
        transfers = Transfers()
        pool = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="download")
        try:
            for shard, part in sorted(parts, key=lambda item: item[0].parts[item[1]].bytes):
                if shard.parts[part].bytes:  # none where a shard's texts are empty
                    pool.submit(self._part, shard, part, transfers)  # the first use of a part that failed raises
            yield
        finally:
            transfers.stop()
            pool.shutdown(wait=True, cancel_futures=True)

    def need_teacher(self, names: Iterable[str]) -> None:
        """Download these files of teacher/ and keep them from removal. Raises `BadCache`, `BadPlace`, `BadOption`."""
        records = {name: self.manifest.teacher_files[name] for name in names}
        files = {self.teacher / name: record.bytes for name, record in records.items()}
        self._using.enter_context(self.downloads.using(self.teacher))
        self._note_download(self.downloads.need(files, self.published.url), sum(files.values()), "the teacher's files")
        transfers = Transfers()

        def download(name: str) -> None:
            record = records[name]

            def write(target: Path) -> None:
                file = f"{TEACHER}/{name}"
                self.published.download(file, record.sha256, 0, record.bytes, record.sha256, target, transfers)

            self.downloads.get(self.teacher / name, record.sha256, record.bytes, self.published.url, write)

        transfers.run(download, records)


def open_published(url: str, store: Path, store_bytes: int) -> Cache:
    """Return the cache published at `url`, after reading its manifest. Raises `BadCache`, `BadPlace`, `BadOption`."""
    published = Published(url)
    manifest, _ = published.read()
    verified = VerifiedDigests(store)
    source = PublishedSource(published, manifest, DownloadCache(store, store_bytes, verified))
    return Cache(published.url, manifest, source, source.teacher, verified)


def download_file(url: str, record: FileRecord, path: Path) -> bool:
    """Write the file with this digest to `path`, from the blobs of the cache published at `url`.

    Return False if it is absent or damaged. Raises `BadPlace`, or OSError of the disk.
    """
    published = Published(url)
    try:
        published.download(path.name, record.sha256, 0, record.bytes, record.sha256, path, Transfers())
    except BadCache:
        return False
    return True
