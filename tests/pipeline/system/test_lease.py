"""Who may write a directory: real processes, a real other host name, written leases for what cannot be had."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.cache.open import open_cache
from pipeline.cache.writer import CacheWriter
from pipeline.errors import BadCache
from pipeline.system import lease as leases
from pipeline.system.lease import Holder, Lease
from stages.benchmarks.harness.synthetic import identity_of
from tests.helpers.paths import ROOT
from tests.helpers.waiting import wait_until

ME = f"{getpass.getuser()}@{socket.gethostname()}"
TAKE = """
import sys, time
from pathlib import Path
from pipeline.system.lease import Lease
lease = Lease(Path(sys.argv[1]))
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    time.sleep(0.001)
print("refused" if lease.acquire() else "won", flush=True)
time.sleep(float(sys.argv[3]))
"""


def taker(path: Path, go: Path, seconds: float = 600, unshare: bool = False) -> subprocess.Popen:
    """A process that takes the lease when `go` is there, says whether it won, and lives on without releasing it."""
    command = [sys.executable, "-c", TAKE, str(path), str(go), str(seconds)]
    if unshare:
        command = ["unshare", "-u", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh", *command]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def path(tmp_path):
    (tmp_path / "cache" / ".partial").mkdir(parents=True)
    return tmp_path / "cache" / ".partial" / "lease.json"


def written(path: Path, **changes: object) -> Holder:
    """A lease of someone else in the file."""
    holder = replace(Holder.me(), name="ada@elsewhere", **changes)
    path.write_text(json.dumps(asdict(holder)))
    return holder


def silent(path: Path, seconds: float) -> None:
    """As if nobody had touched the file for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def writer(directory: Path) -> CacheWriter:
    return CacheWriter(directory, identity_of((1,), 4), "arrow")


def test_a_second_writer_is_refused_with_the_owners_name(tmp_path):
    first, second = writer(tmp_path / "cache"), writer(tmp_path / "cache")
    assert first.start()
    with pytest.raises(BadCache) as error:
        second.start()
    assert str(error.value) == (
        f"{tmp_path}/cache is being written by {ME} (process {os.getpid()}). Wait for it, or add --join to share "
        "its work"
    )
    assert not second.start(join=True)
    second.close()
    assert first.lease.holder() == first.lease.me  # the refused one took nothing
    first.close()
    assert second.start()
    second.close()


@pytest.mark.process
def test_the_lease_of_a_killed_process_is_taken_over_at_once(path, tmp_path):
    (tmp_path / "go").touch()
    process = taker(path, tmp_path / "go")
    assert process.stdout.readline() == "won\n"
    lease = Lease(path)
    assert lease.acquire().pid == process.pid
    process.kill()
    process.communicate()
    assert lease.acquire() is None
    lease.check()
    lease.release()
    assert not path.exists()


def test_a_process_number_used_again_is_another_process(path):
    mine = written(path)
    assert Lease(path).holder() == mine
    written(path, started=mine.started - 5)
    assert Lease(path).holder() is None
    assert Lease(path).acquire() is None


def test_a_lease_of_another_host_holds_for_a_minute_of_silence(path):
    other = written(path, host="elsewhere", pid=1)
    lease = Lease(path)
    silent(path, 50)
    assert lease.acquire() == other
    assert str(other) == "ada@elsewhere (process 1)"
    silent(path, 61)
    assert lease.acquire() is None
    assert lease.holder() == lease.me
    lease.release()


@pytest.mark.process
def test_a_real_other_host(path, tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-u", "true"], capture_output=True).returncode:
        pytest.skip("unshare -u needs privileges")
    (tmp_path / "go").touch()
    process = taker(path, tmp_path / "go", unshare=True)
    assert process.stdout.readline() == "won\n"
    assert str(Lease(path).acquire()) == f"{getpass.getuser()}@elsewhere (process {process.pid})"
    process.kill()
    process.communicate()
    lease = Lease(path)
    assert lease.acquire() is not None  # that its process is dead cannot be seen from here
    silent(path, 61)
    assert lease.acquire() is None
    lease.release()


def test_the_heartbeat_touches_the_file(path, monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.02)
    lease = Lease(path)
    assert lease.acquire() is None
    silent(path, 1000)
    wait_until(lambda: time.time() - path.stat().st_mtime < 500)
    lease.release()
    path.touch()
    silent(path, 1000)
    time.sleep(0.1)
    assert time.time() - path.stat().st_mtime > 500  # it ended with the lease


def test_an_owner_that_was_taken_over_writes_no_manifest(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.02)
    manifest = open_cache(tiny.arrow).manifest
    sleeper = CacheWriter(tmp_path / "cache", manifest.fields, "arrow")
    sleeper.start()
    other = written(sleeper.lease.path, host="elsewhere", token="another")
    silent(sleeper.lease.path, 30)
    time.sleep(0.1)
    assert time.time() - sleeper.lease.path.stat().st_mtime > 20  # the new holder has to keep it alive itself
    with pytest.raises(BadCache) as error:
        sleeper.finish(manifest)
    assert str(error.value) == (
        f"{tmp_path}/cache was taken over by another process while this one was silent. Run the same command again"
    )
    assert not (tmp_path / "cache" / "manifest.json").exists()
    sleeper.close()
    assert Lease(sleeper.lease.path).holder() == other


@pytest.mark.process
def test_of_many_processes_one_wins(path, tmp_path):
    path.write_text(json.dumps(asdict(replace(Holder.me(), pid=2**22 + 1))))  # all find the lease of a dead process
    processes = [taker(path, tmp_path / "go") for _ in range(6)]
    (tmp_path / "go").touch()
    said = [process.stdout.readline() for process in processes]
    for process in processes:
        process.kill()
        process.communicate()
    assert sorted(said) == ["refused\n"] * 5 + ["won\n"]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"name": "ada"}',
        b"[" * 100_000,
        *(
            json.dumps(
                {"name": "a", "host": leases.this_host(), "token": "", "pid": 1, "started": 0.0} | wrong
            ).encode()
            for wrong in ({"pid": "one"}, {"pid": -1}, {"pid": 10**30}, {"started": "then"}, {"host": None}, {"x": 1})
        ),
    ],
)
def test_a_damaged_lease_blocks_nobody(path, damaged):
    path.write_bytes(damaged)
    silent(path, 61)  # where nothing tells the host, as after a minute without heartbeat
    lease = Lease(path)
    assert lease.acquire() is None
    lease.check()
    lease.release()


def test_a_directory_that_goes_away_meanwhile_is_made_again(path, monkeypatch):
    take, removed = Lease._take, []

    def meanwhile(lease):
        if not removed:
            removed.append(shutil.rmtree(path.parent))
            raise FileNotFoundError
        return take(lease)

    monkeypatch.setattr(Lease, "_take", meanwhile)
    lease = Lease(path)
    assert lease.acquire() is None and removed
    lease.release()


def test_a_new_owner_leaves_the_files_of_living_processes_alone(tmp_path):
    """A process that joined goes on writing its shard when another one takes the place of a dead owner."""
    joined, owner = writer(tmp_path), writer(tmp_path)
    claim = joined.claim("train", 3)
    assert claim.acquire() is None
    (tmp_path / "train").mkdir()
    alive, dead = (tmp_path / "train" / f".{i:05d}.arrow.0123abcd.tmp" for i in (3, 4))
    teacher = tmp_path / ".teacher.0123abcd.tmp"
    alive.touch(), dead.touch(), teacher.mkdir()
    assert owner.start()
    assert alive.exists() and not dead.exists() and not teacher.exists()
    claim.release()
    owner.close()
