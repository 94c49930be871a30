"""Disks that are full or cannot be written, a second writer: one clear line, nothing lost, the next call goes on."""

import errno
import getpass
import os
import re
import socket
import subprocess

import pytest

from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.writer import CacheWriter
from pipeline.errors import BadCache
from pipeline.teacher import preflight
from stages import cache_teacher
from tests.helpers.writers import config, contents, recorded, unchanged, words

SOAK = os.environ.get("PKD_SOAK") == "1"
ROWS = 16  # examples a shard


class Disk:
    """A small file system of its own."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def mount(self, options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", self.path], check=True, capture_output=True)

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True, capture_output=True)

    def unmount(self):
        subprocess.run(["umount", "-l", self.path], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path / "disk")
    try:
        disk.mount("size=64m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    yield disk
    disk.unmount()


@pytest.fixture
def optimistic(monkeypatch):
    """The disk fills up after the preflight, as when somebody else writes to it."""
    usage = preflight.shutil.disk_usage
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda place: usage(place)._replace(free=10**12))


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """`whole(container)`: the contents of a cache that nothing stopped, and the bytes of its teacher and its shards."""
    root, found = tmp_path_factory.mktemp("whole"), {}

    def make(container):
        if container not in found:
            out = root / container
            cache_teacher.run(config(tiny, out, shard_rows=ROWS, format=container))
            teacher = sum(pages(path) for path in (out / "teacher").iterdir())
            shards = sum(pages(path) for path in out.glob("[a-z]*/0*"))
            found[container] = contents(out), teacher, shards
        return found[container]

    return make


def pages(path):
    return -(-path.stat().st_size // 4096) * 4096


def stopped(said):
    """The one line that tells why; no traceback."""
    assert said.code == 2, said.stderr
    assert "Traceback" not in said.stderr
    return said.error


MODES = [("arrow", 1), ("hdf5", 1), *([("arrow", 2), ("hdf5", 2)] if SOAK else [])]


@pytest.mark.parametrize(("container", "workers"), MODES)
def test_a_disk_that_fills_up_with_shards(call, tiny, disk, whole, optimistic, container, workers):
    expected, teacher, shards = whole(container)
    out = disk.path / "cache"
    command = words(tiny, out, shard_rows=ROWS, format=container, workers=workers)
    disk.remount(f"size={(teacher + shards // 2) // 1024}k")
    line = stopped(call(*command))
    assert re.fullmatch(
        rf"Error: {re.escape(str(out))}(/\S+ cannot be written \(No space left on device\). Make room and run the "
        r"same command again: finished shards are kept|/\S+: No space left on device. Make room or name another "
        "directory, then run the same command again)",
        line,
    ), line
    finished = recorded(out)
    assert finished
    disk.remount("size=64m")
    assert call(*command).code == 0
    assert unchanged(out, finished)
    assert contents(out) == expected


def test_a_disk_too_small_for_the_teacher(call, tiny, disk, whole, optimistic):
    expected, teacher, _ = whole("arrow")
    out = disk.path / "cache"
    disk.remount(f"size={teacher // 2 // 1024}k")
    assert stopped(call(*words(tiny, out, shard_rows=ROWS))) == (
        f"Error: {out}/teacher cannot be written (No space left on device). Make room and run the same command again"
    )
    assert not (out / "teacher").exists() and not list(out.glob(".teacher*"))
    disk.remount("size=64m")
    assert call(*words(tiny, out, shard_rows=ROWS)).code == 0
    assert contents(out) == expected


def test_a_full_disk_is_seen_before_anything_is_written(call, tiny, disk):
    disk.remount("size=100k")
    line = stopped(call(*words(tiny, disk.path / "cache", shard_rows=ROWS)))
    assert re.fullmatch(
        rf"Error: {re.escape(str(disk.path))}/cache needs \d+ kB, and 102 kB are free there. Make room, name another "
        "--cache, or keep less with --layers or --dtype float16",
        line,
    ), line
    assert list(disk.path.iterdir()) == []


def test_a_directory_that_cannot_be_written(call, tiny, disk, whole, monkeypatch):
    expected, *_ = whole("arrow")
    out = disk.path / "cache"
    command = words(tiny, out, shard_rows=ROWS)
    disk.remount("ro")
    text = f"Error: {out} cannot be written (Read-only file system). Name another --cache"
    assert stopped(call(*command)) == text
    disk.remount("rw")
    write, left = CacheWriter.write_shard, iter(range(7))

    def full(self, *arguments):
        if next(left, None) is None:
            raise BadCache("stopped")
        return write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CacheWriter, "write_shard", full)
        assert stopped(call(*command)) == "Error: stopped"
    finished = recorded(out)
    disk.remount("ro")
    assert stopped(call(*command)) == text
    disk.remount("rw")
    assert call(*command).code == 0
    assert unchanged(out, finished) and len(finished) == 7
    assert contents(out) == expected
    disk.remount("ro")
    again = call(*command)
    assert again.code == 0 and f"{out} is already this cache, complete" in again.stderr


def test_a_directory_without_permission(call, tiny, tmp_path, monkeypatch):
    """Where the user is root, who may write everywhere, the system's answer is made up."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        make = os.mkdir

        def refuse(path, *arguments, **options):
            if str(path).startswith(str(locked)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return make(path, *arguments, **options)

        monkeypatch.setattr(os, "mkdir", refuse)
    said = call(*words(tiny, locked / "cache", shard_rows=ROWS))
    assert stopped(said) == f"Error: {locked}/cache cannot be written (Permission denied). Name another --cache"
    assert list(locked.iterdir()) == []


def test_a_second_writer(call, tiny, tmp_path, whole):
    """As the command line tells it; the writer itself goes on."""
    out = tmp_path / "cache"
    manifest = {**whole("arrow")[0]["manifest.json"]}
    owner = CacheWriter(out, CacheIdentity.from_json(manifest["fields"]), "arrow")
    assert owner.start()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    me = f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})"
    assert stopped(call(*words(tiny, out, shard_rows=ROWS))) == (
        f"Error: {out} is being written by {me}. Wait for it, or add --join to share its work"
    )
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    owner.lease.check()
    owner.close()
    assert call(*words(tiny, out, shard_rows=ROWS)).code == 0
    assert contents(out) == whole("arrow")[0]
