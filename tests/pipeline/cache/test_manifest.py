import json
import shutil

import pytest

from pipeline.cache.manifest import read_manifest
from pipeline.cache.reader import open_cache
from pipeline.errors import BadCache
from pipeline.fingerprint import json_digest


@pytest.fixture
def cache(tiny, tmp_path):
    return shutil.copytree(tiny.arrow, tmp_path / "cache")


def edit(cache, change):
    value = json.loads((cache / "manifest.json").read_text())
    change(value)
    (cache / "manifest.json").write_text(json.dumps(value))


def test_a_manifest_reads_as_it_was_written(cache):
    manifest = read_manifest(cache)
    manifest.write(cache)
    assert read_manifest(cache) == manifest


def test_no_cache(tmp_path):
    with pytest.raises(BadCache) as error:
        open_cache(tmp_path / "none")
    assert str(error.value) == (
        f"{tmp_path}/none: there is no such cache. Make it: cli.py cache-teacher --cache {tmp_path}/none --task …"
    )
    with pytest.raises(BadCache) as error:
        open_cache(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} is no cache (it has no manifest.json). Run cache-teacher, again if it was stopped, "
        "or name another --cache"
    )


def test_another_format_version(cache):
    edit(cache, lambda value: value.update(format=99))
    with pytest.raises(BadCache) as error:
        open_cache(cache)
    assert str(error.value) == (
        f"{cache}: its format is version 99, and this program reads version 1. Make it again with cache-teacher"
    )


def shard(value):
    return value["splits"]["train"]["shards"][0]


DAMAGE = {
    "identity": lambda value: value.update(identity="0" * 64),
    "field": lambda value: value["fields"].update(max_length=64),
    "content": lambda value: shard(value).update(sha256="0" * 64),
    "outside": lambda value: shard(value).update(file="../../etc/passwd"),
    "absolute": lambda value: shard(value).update(file="/etc/passwd"),
    "other split": lambda value: shard(value).update(file="dev/00000.arrow"),
    "renamed split": lambda value: value["splits"].update({"/": value["splits"].pop("train")}),
    "negative": lambda value: shard(value).update(rows=-1),
    "text": lambda value: shard(value).update(rows="many"),
    "missing": lambda value: value.pop("model"),
    "extra": lambda value: shard(value).update(colour="red"),
    "container": lambda value: value.update(container="pickle"),
    "teacher file": lambda value: value["teacher_files"].update({"../x": "0"}),
    "null": lambda value: value.update(splits=None),
    "list": lambda value: value.update(fields=[]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_manifest_that_does_not_hold_together(cache, damage):
    edit(cache, DAMAGE[damage])
    with pytest.raises(BadCache) as error:
        open_cache(cache)
    assert str(error.value).startswith(f"{cache}/manifest.json is damaged (")
    assert str(error.value).endswith("). Make the cache again with cache-teacher")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "null"])
def test_a_manifest_that_is_no_manifest(cache, text):
    (cache / "manifest.json").write_text(text)
    with pytest.raises(BadCache):
        open_cache(cache)


def test_fields_and_files_that_contradict_each_other(cache):
    def narrower(value):
        value["fields"]["layers"] = [1]
        value["identity"] = json_digest(value["fields"])

    edit(cache, narrower)
    with pytest.raises(BadCache) as error:
        open_cache(cache)
    assert f"{cache}/train/00000.arrow is damaged (columns are " in str(error.value)


def test_a_shard_that_is_a_link_or_gone(cache, tiny):
    path = cache / "dev" / "00000.arrow"
    path.unlink()
    path.symlink_to(tiny.arrow / "dev" / "00000.arrow")
    with pytest.raises(BadCache, match=r"00000.arrow is damaged"):
        open_cache(cache)
    path.unlink()
    with pytest.raises(BadCache, match=r"00000.arrow is damaged"):
        open_cache(cache)
