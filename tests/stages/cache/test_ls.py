import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cache.open import open_cache
from tests.helpers.paths import ROOT
from tests.helpers.rewriting import flip_byte, rewritten, unfinished_cache


@pytest.fixture
def data(tiny, in_directory) -> Path:
    """data/ with two caches and a directory that is none."""
    shutil.copytree(tiny.arrow, "data/toy")
    shutil.copytree(tiny.float16, "data/toy-16")
    (in_directory / "data" / "notes").mkdir()
    return in_directory / "data"


def test_ls_lists_caches_in_data(call, data):
    result = call("cache", "ls")
    manifest = open_cache("data/toy").manifest
    assert result.json["location"] == "data"
    assert [cache["place"] for cache in result.json["caches"]] == ["data/toy", "data/toy-16"]
    first, second = result.json["caches"]
    assert first == {
        "place": "data/toy",
        "state": "complete",
        "note": "",
        "identity": manifest.identity,
        "content": manifest.content,
        "task": "toy",
        "teacher": "teacher",
        "examples": {"train": 300, "dev": 90, "test": 40},
        "layers": [1, 2, 3],
        "dtype": "float32",
        "container": "arrow",
        "bytes": sum(p.stat().st_size for p in Path("data/toy").glob("*/*")),
        "made": manifest.made["environment"]["time"],
    }
    assert second["identity"] == open_cache("data/toy-16").manifest.identity
    header, line = result.stdout.splitlines()[:2]
    assert header.split() == "cache identity task teacher splits layers container bytes age".split()
    assert line.split()[:4] == ["data/toy", manifest.identity[:12], "toy", "teacher"]
    assert "train 300, dev 90, test 40  1–3     arrow" in line
    assert line.endswith((" s", " min"))  # made in this session


def test_ls_lists_a_single_cache(call, data):
    assert [cache["place"] for cache in call("cache", "ls", "data/toy").json["caches"]] == ["data/toy"]


def test_ls_of_empty_directory(call, in_directory):
    for place in ("data", "."):
        result = call("cache", "ls", *([] if place == "data" else [place]))
        assert result.code == 0
        assert result.json == {"command": "cache ls", "location": place, "caches": []}
        assert (
            result.stdout.splitlines()[0]
            == f"{place}: no caches here. Make one: python cli.py cache-teacher --task TASK"
        )


def test_ls_refuses_missing_directory(call, in_directory):
    result = call("cache", "ls", "daat")
    assert (result.code, result.error) == (2, "Error: daat is not there. Name a directory or a URL")


def test_ls_refuses_a_file(call, in_directory):
    Path("data").touch()
    result = call("cache", "ls")
    assert (result.code, result.error) == (2, "Error: data is a file, no cache. Name a directory or a URL")


def test_ls_shows_age_in_days(call, tiny, tmp_path):
    made = {"environment": {"time": "2020-01-01T00:00:00+00:00"}}
    rewritten(tiny.arrow, tmp_path / "old", lambda *_: None, made=made)
    result = call("cache", "ls", tmp_path)
    assert result.stdout.splitlines()[1].endswith(" days")
    assert result.json["caches"][0]["teacher"] == "bert"  # nothing says which


def test_ls_marks_damaged_cache(call, data):
    flip_byte(data / "toy" / "manifest.json", 400)
    result = call("cache", "ls")
    first, second = result.json["caches"]
    assert (first["state"], second["state"]) == ("damaged", "complete")
    assert first["identity"] is None
    assert first["note"].startswith("data/toy/manifest.json is damaged (ValueError: ")
    assert f"data/toy: {first['note']}" in result.stdout


@pytest.mark.process
def test_ls_names_writer_of_unfinished_cache(call, tiny, in_directory):
    unfinished_cache(tiny.arrow, in_directory / "data" / "toy", 3)
    (cache,) = call("cache", "ls").json["caches"]
    assert (cache["state"], cache["identity"]) == ("unfinished", open_cache(tiny.arrow).manifest.identity)
    assert (
        cache["note"]
        == "unfinished, 3 shards so far; no process is writing it: run the command that started it to continue"
    )
    code = "from pipeline.system.lease import Lease; import sys, pathlib, time\n"
    code += "Lease(pathlib.Path(sys.argv[1])).acquire(); print(1, flush=True); time.sleep(600)"
    lease = in_directory / "data" / "toy" / ".partial" / "lease.json"
    process = subprocess.Popen([sys.executable, "-c", code, str(lease)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        result = call("cache", "ls")
    finally:
        process.kill()
        process.communicate()
    name = json.loads(lease.read_text())["name"]
    assert result.json["caches"][0]["note"] == (
        f"unfinished, 3 shards so far; being written by {name} (process {process.pid})"
    )
    assert "no process is writing it" in call("cache", "ls").json["caches"][0]["note"]  # it died


def test_ls_lists_unfinished_cache_with_unreadable_identity(call, in_directory):
    for text in ("", "[]", '{"fields": 3}', "[" * 100_000):
        partial = in_directory / "data" / "toy" / ".partial"
        partial.mkdir(parents=True, exist_ok=True)
        (partial / "identity.json").write_text(text)
        (cache,) = call("cache", "ls").json["caches"]
        assert (cache["state"], cache["identity"]) == ("unfinished", None)


def test_ls_escapes_terminal_codes(call, tiny, in_directory):
    rewritten(tiny.arrow, in_directory / "data" / "a", lambda *_: None, made={"teacher": "\x1b]0;owned\x07"})
    hostile = unfinished_cache(tiny.arrow, in_directory / "data" / "b\x1b[2J", 1)
    path = hostile / ".partial" / "identity.json"
    path.write_text(path.read_text().replace('"container": "arrow"', '"container": "\\u001b]0;owned\\u0007"'))
    result = call("cache", "ls")
    assert [cache["state"] for cache in result.json["caches"]] == ["damaged", "unfinished"]
    assert "\x1b" not in result.stdout and "data/b�[2J" in result.stdout and "�]0;owned�" in result.stdout


def test_ls_lists_published_caches(call, data, monkeypatch):
    monkeypatch.setenv("PKD_STORE", str(data.parent / "store"))
    (data / "a-file").touch()
    url = f"file://{data}"
    result = call("cache", "ls", f"{url}/")
    assert [cache["place"] for cache in result.json["caches"]] == [f"{url}/toy", f"{url}/toy-16"]
    assert result.json["caches"][0]["identity"] == open_cache("data/toy").manifest.identity
    flip_byte(data / "toy" / "manifest.json", 400)
    assert [cache["state"] for cache in call("cache", "ls", url).json["caches"]] == ["damaged", "complete"]
    assert call("cache", "ls", f"file://{data}/notes").json["caches"] == []
