"""Uploads of a cache's files: each is compared with the manifest before, and with what arrived after."""

import hashlib
import re
from pathlib import Path

from pipeline.cache.format.manifest import FileRecord
from pipeline.cache.remote.object_store import PART, Remote
from pipeline.cache.remote.published import Published
from pipeline.errors import OTHER_BYTES, BadPlace, DamagedFile

_MD5 = re.compile(r"[0-9a-f]{32}")


def upload(published: Published, file: Path, record: FileRecord) -> bool:
    """Send a file unless it is there, and return whether it was sent.

    Raises `BadCache` naming a file that differs from the manifest, `BadPlace` if it does not arrive intact.
    """
    sha256, etags = _digests(file)
    if sha256 != record.sha256:
        raise DamagedFile(file, OTHER_BYTES, file.parents[1])
    path = published.blob(sha256)
    if _arrived(published.remote, path, record, etags, sure=published.remote.scheme_name == "file"):
        return False
    published.remote.upload(file, path)
    if not _arrived(published.remote, path, record, etags, sure=True):
        raise BadPlace(f"{published.url}: {file} did not arrive as it was sent. Run the same command again")
    return True


def _digests(file: Path) -> tuple[str, tuple[str, str]]:
    """Return a file's SHA-256 and the ETags that S3 can give: MD5 of the bytes, or of the MD5s of their parts."""
    sha256, md5, part_md5s = hashlib.sha256(), hashlib.md5(usedforsecurity=False), []
    with file.open("rb") as opened:
        while block := opened.read(PART):
            sha256.update(block)
            md5.update(block)
            part_md5s.append(hashlib.md5(block, usedforsecurity=False).digest())
    combined = hashlib.md5(b"".join(part_md5s), usedforsecurity=False).hexdigest()
    return sha256.hexdigest(), (md5.hexdigest(), f"{combined}-{len(part_md5s)}")


def _arrived(remote: Remote, path: str, record: FileRecord, etags: tuple[str, str], sure: bool) -> bool:
    """Return whether the store has the file, by size and ETag. If the ETag is unknown, `sure` reads the file back.

    A different MD5 does not prove damage (encrypted objects have others), so the file is read back then too.
    """
    file = remote.describe(path)
    if file is None or file.bytes != record.bytes:
        return False
    if file.etag in etags:
        return True
    if not sure and not _MD5.fullmatch(file.etag):
        return True
    try:
        remote.download(path, 0, record.bytes, record.sha256, None, lambda count: None)
    except (ValueError, FileNotFoundError):
        return False
    return True
