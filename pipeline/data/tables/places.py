"""Places of row files: paths, patterns and URLs, compressed or not."""

import bz2
import glob
import gzip
import lzma
import os
import shlex
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.config.options import values_of
from pipeline.config.rows import ROW_PATHS
from pipeline.errors import BadRows, DistillError, one_line
from pipeline.system.formatting import public_place

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)  # what a damaged compressed file raises, too


def is_url(place: str) -> bool:
    """Return whether a place is a URL."""
    return "://" in place


def expand(places: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files of these places: those that match a pattern, sorted by name, in its stead.

    Raises `BadRows` for a pattern that matches nothing, and for a file that is named twice.
    """
    files = [file for place in places for file in _matches(place)]
    known = set()
    for file in files:
        if (identity := file_identity(file)) in known:
            raise BadRows(f"{name_of(file)} is named twice, so its rows would count twice. Name it once")
        known.add(identity)
    return tuple(files)


def file_identity(place: str) -> object:
    """Return what the names of one file have in common: links to it, and the URL of a local file, too."""
    path = urlsplit(place).path if place.startswith("file://") else place
    if is_url(path) or not os.path.exists(path):
        return place
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _matches(place: str) -> list[str]:
    if is_url(place):
        files = _remote_matches(place) if "*" in urlsplit(place).path else [place]
    else:
        literal = os.path.lexists(place) or not glob.has_magic(place)
        files = [place] if literal else sorted(glob.glob(place, recursive=True))
    if not files:
        raise BadRows(f"{name_of(place)}: no file matches this pattern. Check it with: ls {name_of(place)}")
    return files


def _remote_matches(place: str) -> list[str]:
    with reading(place):
        import fsspec

        system, pattern = fsspec.core.url_to_fs(place)
        return sorted(system.unstrip_protocol(path) for path in system.glob(pattern))


def absolute(place: str) -> str:
    """Return a place that stays valid in other working directories."""
    return place if is_url(place) else str(Path(place).absolute())


def missing(rows: Mapping[str, Any]) -> str | None:
    """Return the first file, pattern or directory of row options that does not exist here; URLs and names may do."""
    options = (name for name in ROW_PATHS if name != "dataset")
    given = (str(place) for option in options for place in values_of(rows.get(option)))
    places = (place for place in given if not is_url(place))
    return next((place for place in places if not Path(place).exists() and not glob.glob(place, recursive=True)), None)


def name_of(place: str) -> str:
    """Return a place as a message may show it: one line, and of a URL neither user, password nor query."""
    return one_line(public_place(place))


def suffix_of(place: str) -> str:
    """Return the suffix that names the format of a file, in small letters: .csv for Rows.CSV.gz."""
    path = Path((urlsplit(place).path if is_url(place) else place).lower())
    return Path(path.stem).suffix if path.suffix in DECOMPRESSORS else path.suffix


def check_file(place: str) -> None:
    """Raise `BadRows` unless a place is a URL, or a file that can be read more than once."""
    if is_url(place):
        return
    path = Path(place)
    if not path.exists():
        if path.is_symlink():
            raise BadRows(
                f"{name_of(place)}: is a link to {one_line(os.readlink(path))}, which does not exist. Copy the "
                "file itself (cp -L follows links)"
            )
        raise BadRows(f"{name_of(place)}: there is no such file. Check the name")
    if path.is_dir():
        pattern = shlex.quote(f"{name_of(place)}/*{suffix_of(place) or '.csv'}")
        raise BadRows(f"{name_of(place)}: is a directory. Name its files by a pattern, as {pattern}")
    if not path.is_file():
        raise BadRows(f"{name_of(place)}: is a pipe or a device, not a file. Save the rows to a file, and name that")


@contextmanager
def opened(place: str) -> Iterator[Any]:
    """Open a file of bytes, decompressed. Raises `BadRows` if it cannot be opened or read to its end."""
    with reading(place):
        decompress = DECOMPRESSORS.get(Path(urlsplit(place).path if is_url(place) else place).suffix.lower())
        with _source(place) as file, decompress(file) if decompress else nullcontext(file) as stream:
            yield stream


def _source(place: str) -> Any:
    if not is_url(place):
        return Path(place).open("rb")
    import fsspec

    return fsspec.open(place, "rb")


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turn what a file system, a decompressor or a client of a URL raises into `BadRows`."""
    try:
        yield
    except (DistillError, UnicodeError):
        raise
    except ImportError as error:
        raise BadRows(
            f"{name_of(place)}: a package for such URLs is missing ({one_line(error)}). Install it"
        ) from error
    except Exception as error:
        if not is_url(place) and not isinstance(error, UNREADABLE):
            raise
        reason = one_line(getattr(error, "strerror", None) or error)
        if not reason or place in str(error) or place != public_place(place):  # it may repeat a signature
            reason = type(error).__name__
        advice = "Check the URL, and what gives access to it" if is_url(place) else "Check the file"
        raise BadRows(f"{name_of(place)}: could not be read ({reason}). {advice}") from error


def _zstandard(file: Any) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(file), "zstd")


DECOMPRESSORS: Mapping[str, Any] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
}
