"""Files that are either complete or absent: written under another name, synced, then renamed."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def temporary_beside(path: Path) -> Path:
    """Return a path in the directory of `path` that no other writer uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def is_temporary(path: Path) -> bool:
    """Return whether the name is one of `temporary_beside`: a living writer uses it, or a dead one left it."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove(path: Path) -> None:
    """Remove a file, or a directory with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def obstacle_to_directory(place: Path) -> str | None:
    """Return what keeps a path from being a directory, as "data is a file"; None where it is one or can become one."""
    for part in (place, *place.parents):
        if os.path.lexists(part):
            if part.is_dir():
                return None
            noun = "a link to nothing" if part.is_symlink() and not part.exists() else "a file"
            return f"{part} is {noun}"
    return None


def sync_directory(directory: Path) -> None:
    """Write a directory's entries to the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finish(path: Path) -> None:
    """Sync a file and give it the permissions of the user's umask (some libraries write private files)."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a temporary path in the directory of `path`, then sync the file and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        write(temporary)
        _finish(temporary)
        temporary.rename(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails does not name its file
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all, in UTF-8. Raises OSError."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_file(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, complete or not at all. Raises OSError, or ValueError for NaN and infinities."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_directory(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a temporary directory, then sync it and rename it to `path`, replacing what is there."""
    temporary = temporary_beside(path)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        for file in temporary.iterdir():
            _finish(file)
        sync_directory(temporary)
        remove(path)
        temporary.rename(path)
    finally:
        remove(temporary)
    sync_directory(path.parent)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file. Raises OSError or ValueError; the caller knows what the file means."""
    return json.loads(path.read_text(encoding="utf-8"))
