"""Files at a URL, through fsspec: described, read in ranges, written as a whole. Every failure becomes one line.

Credentials and end points come from each store's usual environment, never from the URL, and no message shows them.
"""

import contextlib
import errno
import hashlib
import importlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipeline.cache.remote.schemes import SCHEMES
from pipeline.cache.remote.store_errors import explain, is_of_this_machine, is_transient
from pipeline.errors import OTHER_BYTES, BadOption, BadPlace, MissingExtra
from pipeline.system.files import temporary_beside, write_file

BLOCK = 16 * 2**20  # bytes per request when reading
PART = 32 * 2**20  # bytes per part when writing to S3; decides the ETag of a large object
WAITS = (0.3, 1.0, 3.0)  # seconds before a request that failed on its way is sent again
Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFile:
    """Size and ETag of a file in a store. `etag` is empty where the store does not give one."""

    bytes: int
    etag: str


class Remote:
    """The directory at a URL and the files in it, by their paths in the store.

    Raises `BadOption` for a URL that no published cache can have, `MissingExtra` without the package that it needs.
    """

    def __init__(self, url: str):
        self.scheme_name, _, rest = url.partition("://")
        parts = rest.strip("/").split("/")
        if self.scheme_name not in SCHEMES or "::" in url or {"", ".", ".."} & set(parts):
            raise BadOption(
                f"{url} is not a URL for a cache. Write it as s3://bucket/name, gs://bucket/name, "
                "hf://datasets/user/repository/name or file:///directory/name"
            )
        if self.scheme_name != "file" and "@" in parts[0]:
            raise BadOption(f"a URL holds no credentials. Give them as {SCHEMES[self.scheme_name].check}")
        self.scheme = SCHEMES[self.scheme_name]
        if len(parts) < self.scheme.bucket_parts or (self.scheme_name == "hf" and parts[0] != "datasets"):
            raise BadOption(f"{url} does not name a repository. Write it as hf://datasets/user/repository/name")
        self.url = url.rstrip("/")
        self.bucket = "/".join(parts[: self.scheme.bucket_parts])
        self.is_bucket = len(parts) == self.scheme.bucket_parts
        self._answered = False
        self._file_system: tuple[int, Any] | None = None
        self.path: str = self.fs._strip_protocol(self.url).rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_file_system": None}

    @property
    def fs(self) -> Any:
        """The file system, created again in a forked process: its connections cannot be shared."""
        if self._file_system is None or self._file_system[0] != os.getpid():
            try:
                importlib.import_module(self.scheme.package)
            except ImportError as error:
                needed = f"{self.scheme_name}:// needs the package {self.scheme.package}"
                raise MissingExtra(f"{needed}: pip install '.[{self.scheme.extra}]'") from error
            import fsspec

            options = {"skip_instance_cache": True, "use_listings_cache": False, **self.scheme.options}
            fs = fsspec.filesystem(self.scheme_name, **options)
            if self.scheme_name == "s3":
                fs.retries = 1
            self._file_system = os.getpid(), fs
        return self._file_system[1]

    def describe(self, path: str) -> RemoteFile | None:
        """Return the size and ETag of a file; None if there is none."""
        try:
            info = self._attempt(lambda fs: fs.info(path))
        except FileNotFoundError:
            return None
        if info["type"] != "file":
            return None
        return RemoteFile(int(info["size"] or 0), str(info.get("ETag") or "").strip('"'))

    def check_bucket(self) -> None:
        """Raise `BadPlace` if the bucket does not exist. One that refuses to be looked at is assumed to."""
        if not self.scheme.bucket_parts:
            return
        try:
            with contextlib.suppress(BadPlace):
                self._attempt(lambda fs: fs.info(self.bucket))
        except FileNotFoundError as error:
            noun = "repository" if self.scheme_name == "hf" else "bucket"
            text = f"{self.scheme_name}://{self.bucket}: there is no such {noun}. Make it first, or check the name"
            raise BadPlace(text) from error

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes start..stop of a file. Raises ValueError if it ends before, FileNotFoundError, `BadPlace`."""
        try:
            data: bytes = self._attempt(lambda fs: fs.cat_file(path, start=start, end=stop))
        except BadPlace as problem:
            if getattr(problem.__cause__, "errno", None) == errno.EINVAL:  # S3's InvalidRange
                raise ValueError("it is shorter than the manifest says") from problem
            raise
        if len(data) != stop - start:
            raise ValueError("it is shorter than the manifest says")
        return data

    def download(
        self, path: str, start: int, size: int, sha256: str, target: Path | None, advance: Callable[[int], object]
    ) -> None:
        """Write `size` bytes of a file from `start` on to `target` (None: read them only), and check their digest.

        Raises ValueError unless their SHA-256 is `sha256`; FileNotFoundError, `BadPlace`, or OSError of the disk.
        """
        digest = hashlib.sha256()
        with target.open("wb") if target else contextlib.nullcontext() as file:
            for offset in range(start, start + size, BLOCK):
                data = self.read(path, offset, min(offset + BLOCK, start + size))
                digest.update(data)
                if file:
                    file.write(data)
                advance(len(data))
        if digest.hexdigest() != sha256:
            raise ValueError(OTHER_BYTES)

    def upload(self, file: Path, path: str) -> None:
        """Write a file, complete or not at all. Raises `BadPlace`."""
        if self.scheme_name == "file":
            self._attempt(lambda _: write_file(Path(path), lambda temporary: _copy(file, temporary)))
            return
        options = {"chunksize": PART, "max_concurrency": 2} if self.scheme_name == "s3" else {}
        self._attempt(lambda fs: fs.put_file(str(file), path, **options))

    def create(self, path: str, data: bytes) -> None:
        """Write a new file. Raises FileExistsError where one exists, if the store can tell; `BadPlace`."""
        if self.scheme_name == "file":
            self._attempt(lambda _: _create_local(Path(path), data))
            return
        try:
            self._attempt(lambda fs: fs.pipe_file(path, data, mode="create"))
        except BadPlace as problem:  # refused, or a store without conditional writes
            if isinstance(problem.__cause__, PermissionError) or is_transient(problem.__cause__):
                raise
            if self.describe(path) is not None:
                raise FileExistsError(path) from problem
            self._attempt(lambda fs: fs.pipe_file(path, data))

    def directories(self) -> list[str]:
        """Return the names at the URL, one level deep."""
        try:
            names = self._attempt(lambda fs: fs.ls(self.path, detail=False))
        except FileNotFoundError:
            return []
        return sorted({str(name).rstrip("/").rpartition("/")[2] for name in names})

    def _attempt(self, call: Callable[[Any], Result]) -> Result:
        """Call with the file system, and again after transient failures: once only for a host that never answered.

        FileNotFoundError and FileExistsError are the caller's; every other error becomes a `BadPlace`.
        """
        waits = [*(WAITS if self._answered else WAITS[:1])]
        while True:
            try:
                result = call(self.fs)
                self._answered = True
                return result
            except (FileNotFoundError, FileExistsError):
                self._answered = True
                raise
            except NotADirectoryError as error:
                raise FileNotFoundError(str(error)) from error
            except Exception as error:  # each store's client has errors of its own
                if is_of_this_machine(error):
                    raise
                if not waits or not is_transient(error):
                    raise BadPlace(explain(self.url, self.scheme_name, error)) from error
            time.sleep(waits.pop(0))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _create_local(path: Path, data: bytes) -> None:
    """Create a file by a hard link, which fails where a file exists; on file systems without links, by rename."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    link_source = temporary_beside(path)
    write_file(link_source, write)
    try:
        os.link(link_source, path)
    except FileExistsError:
        raise
    except OSError:
        write_file(path, write)
    finally:
        link_source.unlink(missing_ok=True)
