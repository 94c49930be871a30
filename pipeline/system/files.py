"""Files that are either whole or not there: written under another name, synced, then renamed."""

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
    """A name beside `path` that no other writer uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether the name is one that only a writer's death can have left behind, or a living writer is using."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove(path: Path) -> None:
    """A file or a directory with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(path: Path) -> None:
    """Sync a file, and give it the permissions that the user's umask asks for (some libraries write private ones)."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a temporary path beside `path`, then sync and rename it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        write(temporary)
        _settle(temporary)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_file(path, write)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_directory(path: Path, write: Callable[[Path], None]) -> None:
    """The same for a directory, which replaces one that is there."""
    temporary = temporary_beside(path)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        for file in temporary.iterdir():
            _settle(file)
        sync_directory(temporary)
        remove(path)
        temporary.rename(path)
    finally:
        remove(temporary)
    sync_directory(path.parent)


def read_json(path: Path) -> Any:
    """Raises OSError or ValueError; the caller knows what the file means."""
    return json.loads(path.read_text(encoding="utf-8"))
