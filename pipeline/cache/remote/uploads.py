"""Sending a file of a cache to where it is published: compared with the manifest before, with what arrived after."""

import hashlib
import re
from pathlib import Path

from pipeline.cache.format.manifest import FileRecord
from pipeline.cache.remote.object_store import PART, Remote
from pipeline.cache.remote.published import Published
from pipeline.errors import OTHER_BYTES, BadPlace, DamagedFile

_MD5 = re.compile(r"[0-9a-f]{32}")


def upload(published: Published, file: Path, record: FileRecord) -> bool:
    """Send a file unless it is there; whether it was sent.

    Raises `BadCache` naming a file that is not what the manifest says, `BadPlace` if it does not arrive as it was.
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
    """SHA-256, and the ETags that S3 can give: MD5 of the bytes, or of the MD5s of their parts."""
    sha256, whole, parts = hashlib.sha256(), hashlib.md5(usedforsecurity=False), []
    with file.open("rb") as opened:
        while block := opened.read(PART):
            sha256.update(block)
            whole.update(block)
            parts.append(hashlib.md5(block, usedforsecurity=False).digest())
    combined = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return sha256.hexdigest(), (whole.hexdigest(), f"{combined}-{len(parts)}")


def _arrived(remote: Remote, path: str, record: FileRecord, etags: tuple[str, str], sure: bool) -> bool:
    """Whether the file lies there: by size and ETag. Where the ETag does not tell, `sure` reads it back.

    An MD5 that differs is no proof (encrypted objects have others), so then it is read back too.
    """
    found = remote.describe(path)
    if found is None or found.bytes != record.bytes:
        return False
    if found.etag in etags:
        return True
    if not sure and not _MD5.fullmatch(found.etag):
        return True
    try:
        remote.download(path, 0, record.bytes, record.sha256, None, lambda count: None)
    except (ValueError, FileNotFoundError):
        return False
    return True
