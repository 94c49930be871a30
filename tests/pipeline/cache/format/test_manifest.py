import json
import shutil

import pytest

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig
from pipeline.errors import BadCache
from stages import cache_teacher
from tests.helpers.sealing import seal, write_sealed


@pytest.fixture
def cache(tiny, tmp_path):
    return shutil.copytree(tiny.arrow, tmp_path / "cache")


def test_a_manifest_reads_as_it_was_written(cache):
    manifest = read_manifest(cache)
    manifest.write(cache)
    assert read_manifest(cache) == manifest


def test_no_cache(tmp_path):
    with pytest.raises(BadCache) as error:
        open_cache(tmp_path / "none")
    assert str(error.value) == (
        f"{tmp_path}/none: there is no such cache. "
        f"Make it: python cli.py cache-teacher --cache {tmp_path}/none --task TASK"
    )
    with pytest.raises(BadCache) as error:
        open_cache(tmp_path)
    assert str(error.value) == (f"{tmp_path} is not a cache (no manifest.json). Name the directory of a cache")


def test_another_format_version(cache):
    seal(cache, lambda value: value.update(format=99))
    with pytest.raises(BadCache) as error:
        open_cache(cache)
    assert str(error.value) == (
        f"{cache}/manifest.json: its format is version 99, and this program reads versions 2 and 3. "
        "Make the cache again with cache-teacher"
    )


def shard(value):
    return value["splits"]["train"]["shards"][0]


def first(value, part="input_ids/values"):
    return shard(value)["parts"][part]


DAMAGE = {
    "field": lambda value: value["fields"].update(splits={}),
    "rows": lambda value: shard(value).update(rows_digest="0" * 64),
    "outside": lambda value: shard(value).update(file="../../etc/passwd"),
    "absolute": lambda value: shard(value).update(file="/etc/passwd"),
    "other split": lambda value: shard(value).update(file="dev/00000.arrow"),
    "renamed split": lambda value: value["splits"].update({"/": value["splits"].pop("train")}),
    "negative": lambda value: shard(value).update(rows=-1),
    "zero": lambda value: shard(value).update(rows=0),
    "billions": lambda value: shard(value).update(rows=10**12),
    "huge": lambda value: shard(value).update(bytes=10**400),
    "text": lambda value: shard(value).update(rows="many"),
    "yes": lambda value: shard(value).update(rows=True),
    "no digest": lambda value: shard(value).update(sha256="abc"),
    "behind the end": lambda value: first(value).update(offset=10**9),
    "negative offset": lambda value: first(value).update(offset=-8),
    "part missing": lambda value: shard(value)["parts"].pop("logits"),
    "missing": lambda value: value.pop("model"),
    "extra": lambda value: shard(value).update(colour="red"),
    "container": lambda value: value.update(container="pickle"),
    "teacher file": lambda value: value["teacher_files"].update({"../x.json": value["teacher_files"]["config.json"]}),
    "teacher code": lambda value: value["teacher_files"].update({"code.py": value["teacher_files"]["config.json"]}),
    "teacher pickle": lambda value: value["teacher_files"].update({"w.bin": value["teacher_files"]["config.json"]}),
    "teacher layer gone": lambda value: value["teacher_files"].pop("layer-02.safetensors"),
    "deep": lambda value: value["model"].update(depth=10**9),
    "layers": lambda value: value["fields"].update(layers=[3, 1]),
    "last layer": lambda value: value["fields"].update(layers=[1, 4]),
    "labels": lambda value: value["task"].update(labels=["a", "b"]),
    "classes": lambda value: value["model"].update(classes=10**6),
    "dtype": lambda value: value["fields"].update(dtype="O"),
    "metric": lambda value: value["teacher_metrics"].update(dev={"accuracy": "good"}),
    "null": lambda value: value.update(splits=None),
    "list": lambda value: value.update(fields=[]),
}


def test_one_flipped_byte_anywhere_in_the_manifest(cache):
    data = (cache / "manifest.json").read_bytes()
    for place in [*range(0, len(data), 97), *range(len(data) - 90, len(data))]:
        changed = bytearray(data)
        changed[place] ^= 1
        (cache / "manifest.json").write_bytes(changed)
        with pytest.raises(BadCache):
            open_cache(cache)


@pytest.mark.parametrize("name", ["identity", "content"])
def test_a_digest_that_is_not_that_of_its_fields(cache, name):
    value = json.loads((cache / "manifest.json").read_text())
    value[name] = "0" * 64
    write_sealed(cache, value)
    with pytest.raises(BadCache, match="its identity or content digest does not match its fields"):
        open_cache(cache)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_manifest_that_does_not_hold_together(cache, damage):
    seal(cache, DAMAGE[damage])
    with pytest.raises(BadCache) as error:
        open_cache(cache)
    assert str(error.value).startswith(f"{cache}/manifest.json is damaged (")
    way_on = f"Take it from a good copy: python cli.py cache verify {cache} --repair --from COPY"
    assert str(error.value).endswith(f"). {way_on}")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "[[]," * 100_000, "null", '{"format": 2}'])
def test_a_manifest_that_is_no_manifest(cache, text):
    (cache / "manifest.json").write_text(text)
    with pytest.raises(BadCache):
        open_cache(cache)


def test_a_shard_whose_columns_lie_elsewhere_than_the_manifest_says(cache):
    def moved(value):
        parts = shard(value)["parts"]
        parts["cls_01"], parts["cls_02"] = parts["cls_02"], parts["cls_01"]

    seal(cache, moved)
    with pytest.raises(BadCache) as error:
        open_cache(cache)
    assert str(error.value) == (
        f"{cache}/train/00000.arrow is damaged (cls_01 is not where the manifest says). "
        f"Run: python cli.py cache verify {cache} --repair"
    )


def test_a_split_that_is_a_link_to_valid_bytes(cache, tiny):
    shutil.rmtree(cache / "dev")
    (cache / "dev").symlink_to(tiny.arrow / "dev")
    with pytest.raises(BadCache, match=r"00000.arrow is a link, and a cache holds its files itself"):
        open_cache(cache)


def test_no_home_no_user_and_no_token(tiny, tmp_path, monkeypatch):
    """What is published of where a cache was made are names of files, not places."""
    home = tmp_path / "ann"
    config = CacheTeacherConfig(
        **tiny.rows | {"train_file": str(shutil.copy(tiny.rows["train_file"], tmp_path / "train.csv"))},
        teacher=str(tiny.teacher),
        cache=str(home / "cache"),
    )
    cache_teacher.run(config)
    text = (home / "cache" / "manifest.json").read_text()
    for word in (str(tmp_path), str(tiny.root), "/home", "/root", "root@"):
        assert word not in text
    made = json.loads(text)["made"]
    assert made["command"].startswith("python cli.py cache-teacher --teacher teacher --cache cache --task toy")
    assert made["rows"]["train_file"] == "train.csv" and made["teacher"] == "teacher"
    assert {"packages", "device", "time", "git_commit"} <= set(made["environment"])
    for file in (home / "cache" / "teacher").glob("*.json"):
        assert str(tiny.root) not in file.read_text(), file


def test_a_shard_that_is_a_link_or_gone(cache, tiny):
    path = cache / "dev" / "00000.arrow"
    path.unlink()
    path.symlink_to(tiny.arrow / "dev" / "00000.arrow")
    with pytest.raises(BadCache, match=r"00000.arrow is a link, .* use the copy: cp -rL "):
        open_cache(cache)
    path.unlink()
    with pytest.raises(BadCache, match=r"00000.arrow is damaged"):
        open_cache(cache)
