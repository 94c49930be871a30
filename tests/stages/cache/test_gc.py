import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig
from pipeline.system.lease import Lease
from stages import cache_teacher
from tests.helpers.paths import ROOT
from tests.helpers.rewriting import contents, unfinished_cache

HOLD = """
import pathlib, sys, time
from pipeline.system.lease import Lease
Lease(pathlib.Path(sys.argv[1])).acquire()
print(1, flush=True)
time.sleep(600)
"""


@contextmanager
def another_process(lease: Path):
    """A process that holds a lease while the block runs, and is then killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lease)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def cache(tiny, tmp_path) -> Path:
    return shutil.copytree(tiny.arrow, tmp_path / "cache")


@pytest.fixture
def unfinished(tiny, tmp_path) -> Path:
    """The teacher and train/00000, 00001 and 00002."""
    return unfinished_cache(tiny.arrow, tmp_path / "cache", 3)


def put(path: Path, text: str = "12345") -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


def test_gc_leaves_tidy_cache_unchanged(call, cache):
    before = {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]}
    result = call("cache", "gc", cache)
    assert result.json == {
        "command": "cache gc",
        "out": str(cache),
        "dry_run": False,
        "removed": [],
        "bytes": 0,
        "kept": [],
    }
    assert result.stdout.splitlines()[0] == f"{cache}: nothing to remove"
    assert {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]} == before


def test_gc_removes_leftovers_of_finished_cache(call, cache):
    whole = contents(cache)
    leftovers = [
        ".manifest.json.0123abcd.tmp",
        ".partial",
        ".teacher.0123abcd.tmp",
        "dev/00002.arrow",
        "teacher/pickled.bin",
        "train/.00003.arrow.0123abcd.tmp",
        "train/notes",
    ]
    for name in leftovers:
        put(cache / name / "file" if "teacher.0" in name or name in (".partial", "train/notes") else cache / name)
    unknown = ["README.md", "more/00000.arrow"]
    for name in unknown:
        put(cache / name)
    everything = contents(cache)
    dry = call("cache", "gc", cache, "--dry-run")
    assert dry.json["dry_run"] and contents(cache) == everything
    assert dry.json["removed"] == leftovers
    assert dry.json["bytes"] == 5 * len(leftovers)
    assert dry.json["kept"] == ["README.md", "more"]
    assert dry.stdout.splitlines()[:2] == [
        "would remove  .manifest.json.0123abcd.tmp  5 bytes",
        "would remove  .partial  5 bytes",
    ]
    result = call("cache", "gc", cache)
    assert result.json == dry.json | {"dry_run": False}
    assert "removed  train/notes  5 bytes\nunknown, kept  README.md\nunknown, kept  more\n" in result.stdout
    assert contents(cache) == whole | {name: b"12345" for name in unknown}
    assert not (cache / ".partial").exists()
    assert call("cache", "gc", cache).json["removed"] == []
    open_cache(cache)


def test_gc_removes_links_not_their_targets(call, cache, tmp_path):
    outside = put(tmp_path / "outside" / "thesis.tex").parent
    (cache / "train" / "link").symlink_to(outside)
    (cache / "teacher" / "dangling").symlink_to(tmp_path / "nowhere")
    (cache / ".partial").symlink_to(outside)
    (cache / "more").symlink_to(outside)
    result = call("cache", "gc", cache)
    assert result.json["removed"] == [".partial", "teacher/dangling", "train/link"]
    assert result.json["kept"] == ["more"]
    assert [path.name for path in outside.iterdir()] == ["thesis.tex"]
    assert not os.path.lexists(cache / ".partial") and not os.path.lexists(cache / "train" / "link")


def test_gc_does_not_enter_split_that_is_a_link(call, cache, tmp_path):
    (cache / "train").rename(tmp_path / "train")
    put(tmp_path / "train" / "thesis.tex")
    (cache / "train").symlink_to(tmp_path / "train")
    result = call("cache", "gc", cache)
    assert (result.json["removed"], result.json["kept"]) == ([], ["train"])
    assert (tmp_path / "train" / "thesis.tex").exists()


@pytest.mark.process
@pytest.mark.parametrize("state", ["cache", "unfinished"])
def test_gc_names_living_writer_and_changes_nothing(call, request, state):
    directory = request.getfixturevalue(state)
    put(directory / "train" / ".00004.arrow.0123abcd.tmp")
    with another_process(directory / ".partial" / "lease.json") as process:
        before = contents(directory)
        for option in ([], ["--dry-run"]):
            result = call("cache", "gc", directory, *option)
            name = json.loads((directory / ".partial" / "lease.json").read_text())["name"]
            assert (result.code, result.error) == (
                2,
                f"Error: {directory} is being written by {name} (process {process.pid}). "
                "Wait for it, then run cache gc again",
            )
        assert contents(directory) == before
    removed = call("cache", "gc", directory).json["removed"]  # killed: its lease is a leftover
    assert removed == [
        ".partial" if state == "cache" else ".partial/lease.json",
        "train/.00004.arrow.0123abcd.tmp",
    ]


@pytest.mark.process
def test_gc_removes_leftovers_of_unfinished_cache(call, tiny, unfinished, tmp_path):
    whole = contents(unfinished)
    with another_process(unfinished / ".partial" / "train-00003.lease"):
        pass
    old = put(unfinished / ".partial" / ".train-00004.lease.0123abcd.tmp")
    os.utime(old, (1, 1))
    leftovers = [
        ".partial/.identity.json.0123abcd.tmp",
        ".partial/.train-00003.json.0123abcd.tmp",
        ".partial/.train-00004.lease.0123abcd.tmp",
        ".partial/train-00003.lease",
        ".teacher.0123abcd.tmp",
        "train/.00003.arrow.0123abcd.tmp",
        "train/00000.h5",
        "train/00003.arrow",
    ]
    for name in leftovers:
        if not (unfinished / name).exists():
            put(unfinished / name)
    unknown = [".partial/mine", "notes/x", "train/thesis.tex"]
    for name in unknown:
        put(unfinished / name)
    dry = call("cache", "gc", unfinished, "--dry-run").json
    assert dry["removed"] == leftovers
    assert dry["kept"] == [".partial/mine", "notes", "train/thesis.tex"]
    result = call("cache", "gc", unfinished).json
    assert result == dry | {"dry_run": False}
    assert contents(unfinished) == whole | {name: b"12345" for name in unknown}
    for name in unknown[:2]:
        (unfinished / name).unlink()
    config = {"teacher": str(tiny.teacher), "dtype": "float32", "precision": "float32", "shard_rows": 64}
    kept = (unfinished / "train" / "00002.arrow").stat().st_mtime_ns
    cache_teacher.run(CacheTeacherConfig(**tiny.rows | config, cache=str(unfinished)))
    assert (unfinished / "train" / "00002.arrow").stat().st_mtime_ns == kept
    shutil.rmtree(unfinished / "notes")
    (unfinished / "train" / "thesis.tex").unlink()
    assert set(contents(unfinished)) == set(contents(tiny.arrow))


@pytest.mark.process
def test_gc_keeps_shard_of_joined_process(call, unfinished):
    """Its owner died, and a process that had joined it goes on."""
    writing = put(unfinished / "train" / ".00003.arrow.0123abcd.tmp")
    put(unfinished / "train" / ".00004.arrow.0123abcd.tmp")
    asking = put(unfinished / ".partial" / ".train-00004.lease.0123abcd.tmp")  # a moment ago
    with another_process(unfinished / ".partial" / "train-00003.lease"):
        assert call("cache", "gc", unfinished).json["removed"] == ["train/.00004.arrow.0123abcd.tmp"]
        assert writing.exists() and asking.exists()
    assert call("cache", "gc", unfinished).json["removed"] == [
        ".partial/train-00003.lease",
        "train/.00003.arrow.0123abcd.tmp",
    ]


@pytest.mark.process
def test_gc_keeps_partial_directory_of_joined_process(call, cache):
    with another_process(cache / ".partial" / "train-00003.lease"):
        assert call("cache", "gc", cache).json["removed"] == []
    assert call("cache", "gc", cache).json["removed"] == [".partial"]
    assert not (cache / ".partial").exists()


def test_gc_holds_the_lease_while_removing(call, cache, monkeypatch):
    from stages.cache import gc

    put(cache / "train" / "notes")
    held, remove = [], gc.remove_leftover

    def looking(leftover):
        held.append(Lease(cache / ".partial" / "lease.json").holder().pid)
        return remove(leftover)

    monkeypatch.setattr(gc, "remove_leftover", looking)
    assert call("cache", "gc", cache).json["removed"] == ["train/notes"]
    assert held == [os.getpid()]
    assert not (cache / ".partial").exists()


def test_gc_refuses_directory_without_cache(call, tmp_path):
    directory = put(tmp_path / "data" / "train" / ".00000.arrow.0123abcd.tmp").parents[1]
    put(directory / ".manifest.json.0123abcd.tmp")
    before = contents(tmp_path)
    refused = (
        f"Error: {directory} is not a cache (it has neither manifest.json nor .partial/): nothing in it was touched. "
    )
    result = call("cache", "gc", directory)
    assert (result.code, result.error) == (2, f"{refused}Name the directory of a cache")
    (directory / ".partial").symlink_to(directory / "train")
    result = call("cache", "gc", directory)
    assert (result.code, result.error) == (2, f"{refused}Name the directory of a cache")
    (directory / ".partial").unlink()
    assert contents(tmp_path) == before
    result = call("cache", "gc", tmp_path / "gone")
    assert result.code == 2 and result.error.startswith(f"Error: {tmp_path}/gone: there is no such cache. ")
    assert contents(tmp_path) == before


def test_gc_refuses_damaged_manifest(call, cache):
    text = (cache / "manifest.json").read_text()
    (cache / "manifest.json").write_text(text.replace('"dev/00001.arrow"', '"dev/00009.arrow"'))
    before = contents(cache)
    result = call("cache", "gc", cache)
    assert result.code == 2 and result.error.startswith(f"Error: {cache}/manifest.json is damaged (")
    assert contents(cache) == before


@pytest.mark.parametrize(
    "fields", ['{"splits": {"../outside": 1, "..": 1}}', '{"splits": 3}', "[]", '{"splits": {"train": 1}']
)
def test_gc_refuses_unfinished_cache_with_bad_identity(call, tmp_path, fields):
    """Names of splits lead nowhere else; what cannot be read is refused."""
    put(tmp_path / "outside" / "00000.arrow")
    put(tmp_path / "cache" / ".partial" / "identity.json", f'{{"container": "arrow", "fields": {fields}}}')
    before = contents(tmp_path)
    result = call("cache", "gc", tmp_path / "cache")
    if "outside" in fields:
        assert result.json["removed"] == []
    else:
        assert (result.code, result.error) == (
            2,
            f"Error: {tmp_path}/cache/.partial/identity.json is damaged, and nothing was touched. "
            f"Remove {tmp_path}/cache and make it again",
        )
    assert contents(tmp_path) == before


@pytest.mark.process
def test_gc_removes_lease_of_writer_that_died_before_its_identity(call, tmp_path):
    with another_process(tmp_path / "cache" / ".partial" / "lease.json"):
        pass
    assert call("cache", "gc", tmp_path / "cache").json["removed"] == [".partial/lease.json"]
