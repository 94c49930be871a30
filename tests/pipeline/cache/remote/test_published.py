"""The cache of downloads: bounded, shared by threads and processes, and never trusted unseen."""

import copy
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.cache.remote.downloads import DownloadCache
from pipeline.cache.remote.object_store import Remote
from pipeline.cache.remote.published import Published, open_published
from pipeline.cache.user_store import VerifiedDigests
from pipeline.errors import BadCache, BadOption
from tests.helpers.paths import ROOT


@pytest.fixture
def downloads(tmp_path):
    return DownloadCache(tmp_path, 1000, VerifiedDigests(tmp_path))


def bytes_of(number, size=300):
    return bytes([number]) * size


def get(downloads, number, size=300, download=None):
    data = bytes_of(number, size)
    sha256 = hashlib.sha256(data).hexdigest()
    path = downloads.column(sha256)
    mapped = downloads.get(path, sha256, size, "URL", download or (lambda target: target.write_bytes(data)))
    assert mapped[0].tobytes() == data
    return path


def another(downloads):
    """Another process with the same store."""
    return DownloadCache(downloads.store, downloads.limit, downloads.verified)


def age(downloads, path, seconds):
    mark = downloads.store / "used" / path.relative_to(downloads.store).with_name(f"{path.name}.mark")
    os.utime(mark, (time.time() - seconds,) * 2)


def test_what_was_not_used_longest_goes_first(downloads):
    first, second, third = (get(downloads, number) for number in range(3))
    for path, seconds in ((first, 50), (second, 70), (third, 60)):
        age(downloads, path, seconds)
    later = another(downloads)
    get(later, 3)
    assert first.exists() and not second.exists() and third.exists()
    get(later, 4)
    assert first.exists() and not third.exists()
    get(another(downloads), 0, download=pytest.fail)  # using it makes it young
    get(later, 5)
    assert not first.exists() or sum(p.stat().st_size for p in downloads.store.glob("columns/*/*")) <= 1000


def test_using_a_file_leaves_its_times_alone(downloads):
    """What `VerifiedDigests` knows is bound to them."""
    path = get(downloads, 0)
    os.utime(path, (time.time() - 100,) * 2)
    before = path.stat()
    get(another(downloads), 0, download=pytest.fail)
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)


def test_what_this_process_needs_stays_and_too_much_is_refused(downloads):
    for number in range(3):
        get(downloads, number)
    with pytest.raises(BadOption) as caught:
        get(downloads, 3)
    assert str(caught.value) == (
        "URL: at least 1,200 bytes of it are needed, and --store-bytes is 1,000. Raise --store-bytes, or train from a "
        "whole copy: python cli.py cache pull URL DIR"
    )
    assert len(list(downloads.store.glob("columns/*/*"))) == 3


def test_damage_in_the_store_is_repaired(downloads):
    path = get(downloads, 0)
    for bad in (bytes_of(9), b"", bytes_of(0, 299)):
        path.write_bytes(bad)
        get(another(downloads), 0)
    path.unlink()
    path.symlink_to("/etc/passwd")
    get(another(downloads), 0)
    assert path.read_bytes() == bytes_of(0) and not path.is_symlink()


def test_threads_that_ask_for_one_file_download_it_once(downloads):
    calls = []

    def slowly(target):
        calls.append(target)
        time.sleep(0.1)
        target.write_bytes(bytes_of(0))

    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: get(downloads, 0, download=slowly), range(16)))
    assert len(calls) == len(paths) == 1


def test_a_download_that_fails_leaves_nothing(downloads):
    def fail(target):
        target.write_bytes(b"half")
        raise BadCache("damaged")

    with pytest.raises(BadCache, match="damaged"):
        get(downloads, 0, download=fail)
    assert not [path for path in downloads.store.glob("columns/*/*") if path.is_file()]


@pytest.mark.process
def test_a_teacher_in_use_stays(downloads):
    """Another process holds it for as long as it runs."""
    teacher = downloads.teacher("some")
    teacher.mkdir(parents=True)
    (teacher / "tokenizer.json").write_bytes(bytes_of(1, 500))
    code = (
        "import sys; from pathlib import Path; from pipeline.cache.remote.downloads import DownloadCache\n"
        "downloads = DownloadCache(Path(sys.argv[1]), 1000, None)\n"
        "with downloads.using(downloads.teacher('some')): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(downloads.store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdout.readline() == b"held\n"
    get(another(downloads), 2, 600)
    assert teacher.exists()
    holder.communicate()
    get(another(downloads), 3, 600)
    assert not teacher.exists()


def test_leftovers_of_dead_writers_go_when_they_are_old(downloads):
    path = get(downloads, 0, 200)
    young, old = (path.with_name(f".{path.name}.{n}.tmp") for n in ("00000000", "11111111"))
    young.write_bytes(bytes_of(1, 400))
    old.write_bytes(bytes_of(1, 400))
    os.utime(old, (time.time() - 7200,) * 2)
    get(another(downloads), 2, 400)
    assert young.exists() and not old.exists()


def test_a_file_system_without_locks(downloads, monkeypatch):
    def refuse(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    get(downloads, 0)


@pytest.mark.parametrize(
    ("url", "manifest", "blob"),
    [
        ("s3://bucket/a/mnli", "bucket/a/mnli/manifest.json", "bucket/a/blobs/3f/3fa"),
        ("s3://bucket/mnli/", "bucket/mnli/manifest.json", "bucket/blobs/3f/3fa"),
        ("s3://bucket", "bucket/manifest.json", "bucket/blobs/3f/3fa"),
        ("hf://datasets/me/caches/mnli", "datasets/me/caches/mnli/manifest.json", "datasets/me/caches/blobs/3f/3fa"),
        ("hf://datasets/me/mnli", "datasets/me/mnli/manifest.json", "datasets/me/mnli/blobs/3f/3fa"),
        ("file:///data/mnli", "/data/mnli/manifest.json", "/data/blobs/3f/3fa"),
        ("memory://mnli", "/mnli/manifest.json", "/blobs/3f/3fa"),
    ],
)
def test_where_things_lie(url, manifest, blob, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    published = Published(url)
    assert (published.manifest_path, published.blob("3fa")) == (manifest, blob)


def test_failures_on_the_way_are_tried_again(monkeypatch):
    monkeypatch.setattr("pipeline.cache.remote.object_store.WAITS", (0, 0))
    remote, failures = Remote("memory://place"), []
    remote.fs.pipe_file("/place/a", b"data")
    remote.read("/place/a", 0, 4)  # it answers

    def flaky(count, error):
        failures[:] = [error] * count
        read = type(remote.fs).cat_file

        def cat_file(self, *words, **options):
            if failures:
                raise failures.pop()
            return read(self, *words, **options)

        monkeypatch.setattr(type(remote.fs), "cat_file", cat_file)
        try:
            return remote.read("/place/a", 0, 4)
        except Exception as problem:
            return str(problem)
        finally:
            monkeypatch.undo()
            monkeypatch.setattr("pipeline.cache.remote.object_store.WAITS", (0, 0))

    assert flaky(2, ConnectionResetError()) == b"data"
    assert flaky(3, ConnectionResetError()) == (
        "memory://place cannot be reached (ConnectionResetError). Check the URL, then run the same command again: "
        "finished transfers are kept"
    )
    assert flaky(1, PermissionError()) == "memory://place: access was refused. Check the URL" and not failures
    with pytest.raises(ValueError, match="it is shorter than the manifest says"):
        remote.read("/place/a", 0, 5)


@pytest.mark.process
def test_a_published_cache_in_another_process(tiny, tmp_path, call):
    """Its connections and maps are made anew there; the copy reads the same bytes."""
    url = f"file://{tmp_path}/shared/toy"
    assert call("cache", "push", tiny.arrow, url).code == 0
    cache = open_published(url, tmp_path / "store", 10**9)
    shard = cache.splits["train"].shards[0]
    logits = shard["logits"]
    assert (copy.deepcopy(shard)["logits"] == logits).all()
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(shard["cls_01"].sum())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1
    if (child := os.fork()) == 0:
        os._exit(0 if shard["cls_02"].shape == shard["cls_01"].shape else 1)
    assert os.waitpid(child, 0)[1] == 0
