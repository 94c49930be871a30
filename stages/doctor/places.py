"""The places that commands write to: the working directory, the user's store, temporary files; their disks."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import BadOption
from pipeline.system.files import obstacle_to_directory
from pipeline.system.formatting import printable, size
from stages.doctor.checks import NOTE, OK, PROBLEM, Check

LITTLE, TOO_LITTLE = 2_000_000_000, 200_000_000  # bytes free
SHARED = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs")
WALK_SECONDS = 1.0  # for the size of the store
WRITTEN = {"data": "--cache", "runs": "--out", "sweeps": "--out"}  # directory -> the option that names another one


def disks() -> Iterator[Check]:
    """Yield a check of each directory that commands write to by default, one line for those of one disk."""
    try:
        os.getcwd()
    except OSError:
        yield Check("disk", PROBLEM, "the working directory was removed", "cd into another one")
        return
    groups: dict[tuple[int, bool, str | None], list[str]] = {}
    for name in WRITTEN:
        place, obstacle = _existing(Path(name)), obstacle_to_directory(Path(name))
        groups.setdefault((place.stat().st_dev, os.access(place, os.W_OK | os.X_OK), obstacle), []).append(name)
    for names in groups.values():
        options = " and ".join(dict.fromkeys(WRITTEN[name] for name in names))
        listed = ", ".join(f"{name}/" for name in names)
        yield disk("disk", Path(names[0]), listed, f"Name directories elsewhere with {options}")
    yield _temporary()


def _temporary() -> Check:
    """Return a check of the directory for temporary files: Python takes another one where TMPDIR cannot be used."""
    named, remedy = os.environ.get("TMPDIR"), "export TMPDIR=/a/larger/disk"
    try:
        place = tempfile.gettempdir()
    except OSError:
        return Check("temporary", PROBLEM, "no directory for temporary files can be written", remedy)
    if named and os.path.abspath(named) != os.path.abspath(place):
        fact = f"TMPDIR={printable(named)} is not a directory that can be written: {printable(place)} is used"
        return Check("temporary", NOTE, fact, f"Make the directory, or: {remedy}")
    return disk("temporary", Path(place), place, remedy)


def store() -> Iterator[Check]:
    """Yield a check of the user's store: verified digests and downloads."""
    from pipeline.cache.user_store import STORE_BYTES, check_store, default_store

    place = default_store()
    remedy = "export PKD_STORE=/another/directory"
    try:
        check_store(place)
        if place.exists():
            os.listdir(place)
    except (BadOption, OSError) as error:
        yield Check("store", PROBLEM, str(error).partition(". ")[0], remedy)
        return
    used, complete = _used(place)
    fact = f"{printable(place)}, {'' if complete else 'more than '}{size(used)} of at most {size(STORE_BYTES)}"
    yield disk("store", place, fact, f"It is only needed for caches at a URL, and to check a cache once: {remedy}")


def disk(name: str, place: Path, fact: str, advice: str) -> Check:
    """Return a check of the disk of a place, that need not exist yet: is it writable, its room, its kind."""
    existing = _existing(place)
    free, kind = shutil.disk_usage(existing).free, _file_system(existing)
    described = f"{printable(fact)}: {size(free)} free" + (f", {kind}" if kind else "")
    if obstacle := obstacle_to_directory(place):
        return Check(name, PROBLEM, f"{printable(obstacle)}, not a directory", advice)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Check(name, PROBLEM, f"{described}; it cannot be written", advice)
    if free < LITTLE:
        return Check(name, PROBLEM if free < TOO_LITTLE else NOTE, described, f"Make room. {advice}")
    if kind in SHARED or kind.startswith("fuse"):
        slow = "A disk of this machine is faster for caches that are read often"
        return Check(name, NOTE, described, slow)
    return Check(name, OK, described)


def _existing(place: Path) -> Path:
    """Return the nearest directory that is there: what is not there yet is made in it."""
    place = Path(os.path.abspath(place))
    return next(parent for parent in (place, *place.parents) if os.path.isdir(parent))


def _file_system(place: Path) -> str:
    """Return the kind of file system of a place, as ext4; empty where the system does not report it."""
    import psutil

    real = Path(os.path.realpath(place))
    mounts = [part for part in psutil.disk_partitions(all=True) if real.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""


def _used(place: Path) -> tuple[int, bool]:
    """Return the bytes of the files below a place, and whether all were counted in time."""
    total, until = 0, time.monotonic() + WALK_SECONDS
    for directory, _, files in os.walk(place):
        for file in files:
            try:
                total += os.lstat(os.path.join(directory, file)).st_size
            except OSError:
                continue
        if time.monotonic() > until:
            return total, False
    return total, True
