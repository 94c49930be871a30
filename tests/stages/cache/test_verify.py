"""Every kind of damage is found and named, and mended where something is left to mend it from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cache import user_store
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.config.training import CacheTeacherConfig
from pipeline.teacher.repair import rows_of
from tests.helpers.sealing import seal


@pytest.fixture
def cache(tiny, tmp_path):
    return Path(shutil.copytree(tiny.arrow, tmp_path / "cache"))


def contents(directory):
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def inside(cache, file, part):
    """A byte in the middle of a part of a shard."""
    shard = next(shard for _, shard in read_manifest(cache).shards() if shard.file == file)
    return shard.parts[part].offset + shard.parts[part].bytes // 2


def test_verify_accepts_intact_cache(call, tiny):
    done = call("cache", "verify", tiny.arrow)
    assert done.code == 0, done.stderr
    files = sum(1 for path in tiny.arrow.rglob("*") if path.is_file())
    assert done.json["files"] == files and done.json["repaired"] == done.json["unknown"] == []
    assert done.json["sample"] is None and done.json["command"] == "cache verify"


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
def test_verify_names_any_file_with_a_flipped_byte(call, tiny, tmp_path, container):
    cache = Path(shutil.copytree(getattr(tiny, container), tmp_path / "cache"))
    for number, path in enumerate(sorted(path for path in cache.rglob("*") if path.is_file())):
        whole = path.read_bytes()
        flip(path, len(whole) * (number % 7) // 7)
        done = call("cache", "verify", cache)
        name = str(path.relative_to(cache))
        assert done.code == 2 and not done.json
        assert (name if name != "manifest.json" else f"{path} is damaged") in done.error, name
        path.write_bytes(whole)
    assert call("cache", "verify", cache).code == 0


def damage_all_kinds(cache):
    flip(cache / "train/00000.arrow", inside(cache, "train/00000.arrow", "cls_02"))
    flip(cache / "train/00001.arrow", inside(cache, "train/00001.arrow", "input_ids/values"))
    flip(cache / "train/00002.arrow", 9)
    (cache / "train/00003.arrow").unlink()
    with (cache / "dev/00000.arrow").open("ab") as file:
        file.write(b"x")


def test_verify_prints_reason_for_each_file(call, cache):
    damage_all_kinds(cache)
    done = call("cache", "verify", cache)
    lines = done.stdout.splitlines()
    assert lines[0] == "train/00000.arrow: the bytes of cls_02 are not those of the manifest"
    assert lines[1].startswith("train/00001.arrow: the bytes of input_ids/values are not those of the manifest; ")
    assert lines[1].endswith("have another row_hash")
    assert lines[2] == "train/00002.arrow: its bytes are not those of the manifest"
    assert lines[3] == "train/00003.arrow: No such file or directory"
    size = (cache / "dev/00000.arrow").stat().st_size
    assert lines[4] == f"dev/00000.arrow: its size is {size}, not {size - 1} bytes"
    total = len(read_manifest(cache).files())
    assert done.error == (
        f"Error: {cache}: 5 of {total} files are damaged (train/00000.arrow, train/00001.arrow, train/00002.arrow, "
        f"train/00003.arrow, dev/00000.arrow). Run: python cli.py cache verify {cache} --repair"
    )


def test_repair_computes_only_damaged_shards_again(call, tiny, cache):
    before, times = contents(cache), {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()}
    damage_all_kinds(cache)
    done = call("cache", "verify", cache, "--repair")
    assert done.code == 0, done.stderr
    assert done.json["repaired"] == [f"train/{i:05d}.arrow" for i in range(4)] + ["dev/00000.arrow"]
    assert contents(cache) == before and not (cache / ".partial").exists()
    changed = {str(path.relative_to(cache)) for path, when in times.items() if path.stat().st_mtime_ns != when}
    assert changed == set(done.json["repaired"])


def test_repair_needs_no_rows_if_tokens_are_intact(call, cache, monkeypatch):
    monkeypatch.setattr("stages.cache.verify.recorded_rows", lambda _: None)
    monkeypatch.setattr("pipeline.teacher.repair.load_rows", lambda _: pytest.fail("rows were read"))
    before = contents(cache)
    for file, part in (("train/00000.arrow", "logits"), ("dev/00001.arrow", "cls_03")):
        flip(cache / file, inside(cache, file, part))
    assert call("cache", "verify", cache, "--repair").code == 0
    assert contents(cache) == before


def test_repair_without_rows_repairs_the_other_files(call, tiny, cache, monkeypatch):
    monkeypatch.setattr("stages.cache.verify.recorded_rows", lambda _: None)
    before = contents(cache)
    damage_all_kinds(cache)
    done = call("cache", "verify", cache, "--repair")
    assert done.code == 2
    assert done.error == (
        f"Error: {cache}: 3 of 5 damaged files could not be repaired, as train/00001.arrow: its rows came from files "
        "train.csv, dev.csv, test.csv: say where they are with --data-dir or --train-file, or name another copy with "
        "--from"
    )
    assert contents(cache)["train/00000.arrow"] == before["train/00000.arrow"]  # its tokens were whole
    own = [f"--{name.replace('_', '-')}={tiny.rows[name]}" for name in ("train_file", "dev_file", "test_file")]
    assert call("cache", "verify", cache, "--repair", *own).code == 0
    assert contents(cache) == before


def test_repair_with_other_rows_is_refused(call, tiny, cache, tmp_path):
    changed = tmp_path / "train.csv"
    changed.write_text(Path(tiny.rows["train_file"]).read_text().replace("film", "plot"))
    (cache / "train/00003.arrow").unlink()
    done = call("cache", "verify", cache, "--repair", "--train-file", changed)
    assert done.code == 2 and "the rows of split train (files train.csv, dev.csv, test.csv) are not those" in done.error
    assert not (cache / "train/00003.arrow").exists() and not (cache / ".partial").exists()


def test_repair_from_a_copy(call, tiny, cache):
    before = contents(cache)
    damage_all_kinds(cache)
    flip(cache / "teacher/layer-02.safetensors", 2000)
    flip(cache / "manifest.json", 700)
    done = call("cache", "verify", cache, "--repair", "--from", tiny.arrow)
    assert done.code == 0, done.stderr
    assert {"manifest.json", "teacher/layer-02.safetensors"} < set(done.json["repaired"])
    assert contents(cache) == before


def test_repair_refuses_copy_of_another_cache(call, tiny, cache):
    """Repair replaces what is damaged; it does not turn one cache into another."""
    flip(cache / "manifest.json", 700)
    before = contents(cache)
    done = call("cache", "verify", cache, "--repair", "--from", tiny.float16)
    assert done.code == 2 and done.error == (
        f"Error: {cache} shares no shard with {tiny.float16}, and nothing was changed. Name another copy with --from"
    )
    assert contents(cache) == before


def test_repair_of_teacher_file_needs_a_copy(call, cache, tiny):
    flip(cache / "teacher/layer-02.safetensors", 2000)
    (cache / "train/00003.arrow").unlink()
    done = call("cache", "verify", cache, "--repair")
    assert done.stdout.splitlines()[2:] == [
        "teacher/layer-02.safetensors: not repaired: only another copy of this cache has it: name one with --from DIR "
        "or URL",
        "train/00003.arrow: not repaired: the teacher in it is damaged too (teacher/layer-02.safetensors): name "
        "another copy with --from",
    ]
    assert (
        call("cache", "verify", cache, "--repair", "--from", tiny.float16).code == 0
    )  # the same teacher, other shards


def test_repair_refuses_different_bytes_of_this_machine(call, cache, monkeypatch):
    """A shard computed otherwise than when it was made is not put in its place, and the difference is named."""

    def elsewhere(value):
        value["made"]["environment"]["device"] = "another processor, 64 cores"

    from pipeline.teacher.forward import TeacherPass

    seal(cache, elsewhere)
    shard = TeacherPass.shard

    def other_bytes(self, *arguments):
        made = shard(self, *arguments)
        return {**made, "logits": made["logits"] + 1e-6}

    monkeypatch.setattr(TeacherPass, "shard", other_bytes)
    flip(cache / "train/00000.arrow", inside(cache, "train/00000.arrow", "logits"))
    damaged = (cache / "train/00000.arrow").read_bytes()
    done = call("cache", "verify", cache, "--repair")
    assert done.code == 2
    assert "train/00000.arrow: computed again it has other bytes than when it was made (device: another" in done.error
    assert done.error.endswith("Name another copy with --from DIR or URL")
    assert (cache / "train/00000.arrow").read_bytes() == damaged


def test_verify_refuses_values_that_are_not_finite(call, tiny, cache):
    """A shard with NaN and all digests made anew is still no cache to train on."""
    import hashlib

    file = "train/00000.arrow"
    place = inside(cache, file, "logits") // 4 * 4
    data = bytearray((cache / file).read_bytes())
    data[place : place + 4] = b"\x00\x00\xc0\x7f"
    (cache / file).write_bytes(data)

    def sealed(value):
        shard = value["splits"]["train"]["shards"][0]
        extent = shard["parts"]["logits"]
        shard["sha256"] = hashlib.sha256(data).hexdigest()
        extent["sha256"] = hashlib.sha256(data[extent["offset"] : extent["offset"] + extent["bytes"]]).hexdigest()

    seal(cache, sealed)
    done = call("cache", "verify", cache)
    assert done.stdout.startswith(f"{file}: logits is not finite for example ")


def test_sample_agrees_with_the_teacher(call, tiny, cache):
    done = call("cache", "verify", tiny.arrow, "--sample", 40)
    assert done.code == 0 and done.json["sample"]["rows"] == 40
    assert max(done.json["sample"]["logits"], done.json["sample"]["cls"]) <= done.json["sample"]["tolerance"] == 1e-3
    assert call("cache", "verify", tiny.arrow, "--sample", 10_000).json["sample"]["rows"] == 430


def test_sample_detects_targets_of_other_rows(call, tiny, tmp_path):
    """Targets in another order, with every digest right: no digest can see that, the teacher can."""
    from pipeline.cache.format.columns import check_columns
    from pipeline.cache.open import open_cache
    from pipeline.cache.shard_writer import write_shard

    cache = Path(shutil.copytree(tiny.arrow, tmp_path / "cache"))
    opened = open_cache(tiny.arrow)
    shard = dict(opened.splits["dev"].shards[0])
    shard["logits"] = shard["logits"][::-1].copy()
    types = opened.manifest.column_types()
    check_columns(shard, types, 64)
    record = write_shard(cache / "dev/00000.arrow", "dev/00000.arrow", "arrow", shard, types)

    def sealed(value):
        value["splits"]["dev"]["shards"][0] = json.loads(json.dumps(record, default=vars))

    seal(cache, sealed)
    assert call("cache", "verify", cache).code == 0
    done = call("cache", "verify", cache, "--sample", 430)
    assert done.code == 2
    assert done.error.startswith(f"Error: {cache}: the teacher in this cache says something else of dev, example ")


def test_verify_refuses_what_it_cannot_read(call, tmp_path, tiny, cache):
    assert call("cache", "verify", tmp_path / "none").error == (
        f"Error: {tmp_path}/none: there is no such cache. "
        f"Make it: python cli.py cache-teacher --cache {tmp_path}/none --task TASK"
    )
    assert call("cache", "verify", cache, "--from", tiny.hdf5).error == (
        "Error: --from names a copy to repair from: add --repair"
    )
    (cache / "train/00003.arrow").unlink()
    assert call("cache", "verify", cache, "--repair", "--from", tmp_path / "x").error == (
        f"Error: --from {tmp_path}/x: there is no such directory. Name another copy of the cache, or a URL"
    )
    (cache / "notes.txt").touch()
    assert (
        "not in the manifest: notes.txt. See: python cli.py cache gc"
        in call("cache", "verify", cache, "--repair").stderr
    )


def test_repair_finds_the_recorded_rows(tiny, monkeypatch, tmp_path):
    manifest = read_manifest(tiny.arrow)
    known = user_store.recorded_rows(manifest.identity)
    assert known is not None and known.train_file == tiny.rows["train_file"]
    assert rows_of(manifest, known, {"dev_file": "elsewhere.csv"}).dev_file == "elsewhere.csv"
    monkeypatch.chdir(tmp_path)
    assert rows_of(manifest, None, {}) is None  # the names in the manifest are no places here
    monkeypatch.chdir(tiny.root)
    assert rows_of(manifest, None, {}).train_file == "train.csv"
    before = {name: value for name, value in manifest.made["rows"].items() if name not in ("dataset", "dev_fraction")}
    assert rows_of(replace(manifest, made={"rows": before}), None, {}) is not None  # an earlier version's
    unknown = replace(manifest, made={"rows": before | {"later": 1}})
    assert rows_of(unknown, None, {"train_file": "train.csv"}) is None


def test_places_of_several_files_are_recorded_as_absolute_paths(in_directory):
    Path("hub").mkdir()
    options = {"task": "toy", "train_file": ["a-*.csv", "https://host/b.csv"], "dataset": "owner/name"}
    user_store.record_rows("1", CacheTeacherConfig(**options))
    recorded = user_store.recorded_rows("1")
    assert recorded.train_file == (f"{in_directory}/a-*.csv", "https://host/b.csv")
    assert (recorded.dev_file, recorded.dataset) == (None, "owner/name")
    user_store.record_rows("2", CacheTeacherConfig(task="toy", dataset="hub"))
    assert user_store.recorded_rows("2").dataset == f"{in_directory}/hub"
