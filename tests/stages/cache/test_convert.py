import json
import shutil
from pathlib import Path

import pytest

from pipeline.cache.open import open_cache
from pipeline.cache.user_store import record_rows, recorded_rows
from pipeline.cache.writer import CacheWriter
from pipeline.config.cache import CacheConvertConfig
from pipeline.config.training import CacheTeacherConfig
from stages import cache_teacher
from stages.cache import convert
from tests.helpers.rewriting import contents, flip_byte, rewritten, unfinished_cache


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PKD_STORE", str(tmp_path / "store"))


def facts(manifest: bytes) -> dict:
    """What a manifest says of the cache, not of how it was made."""
    value = json.loads(manifest)
    return {name: value[name] for name in value if name not in ("made", "derived_from", "digest")}


@pytest.mark.parametrize(
    "source,options",
    [
        ("arrow", {"format": "hdf5"}),
        ("hdf5", {"format": "arrow"}),
        ("arrow", {"layers": "1,3"}),
        ("arrow", {"dtype": "float16"}),
        ("float16", {"layers": "2", "format": "hdf5"}),
        ("hdf5", {"format": "arrow", "layers": "2", "dtype": "float16"}),
        ("arrow", {}),
    ],
)
def test_convert_writes_the_bytes_of_cache_teacher(tiny, tmp_path, source, options):
    """Also the manifest, but for how it was made."""
    result = convert.run(CacheConvertConfig(cache=str(getattr(tiny, source)), out=str(tmp_path / "out"), **options))
    held = {"dtype": "float16"} if source == "float16" else {"dtype": "float32"}
    made = {"teacher": str(tiny.teacher), "precision": "float32", "shard_rows": 64, "cache": str(tmp_path / "direct")}
    direct = cache_teacher.run(CacheTeacherConfig(**tiny.rows | made | held | options))
    assert result.identity == direct.identity
    ours, theirs = contents(tmp_path / "out"), contents(tmp_path / "direct")
    assert facts(ours.pop("manifest.json")) == facts(theirs.pop("manifest.json"))
    assert ours == theirs


def test_convert_records_its_source(call, tiny, tmp_path):
    record_rows(open_cache(tiny.arrow).manifest.identity, CacheTeacherConfig(**tiny.rows))
    out = tmp_path / "out"
    found = call("cache", "convert", tiny.arrow, out, "--layers", "1,3", "--dtype", "float16").json
    source, made = open_cache(tiny.arrow).manifest, open_cache(out).manifest
    assert (found["command"], found["out"], found["identity"]) == ("cache convert", str(out), made.identity)
    assert (found["content"], found["derived_from"]) == (made.content, source.identity)
    assert (found["layers"], found["dtype"], found["container"]) == ([1, 3], "float16", "arrow")
    assert found["bytes"] == made.bytes
    assert (made.derived_from.identity, made.derived_from.content) == (source.identity, source.content)
    assert made.teacher_metrics == source.teacher_metrics
    assert made.made["command"] == "python cli.py cache convert arrow out --layers 1,3 --dtype float16"
    for name in ("teacher", "rows_from", "rows"):
        assert made.made[name] == source.made[name]
    assert set(made.made) == {"command", "teacher", "rows_from", "rows", "seconds", "environment"}
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    assert recorded_rows(made.identity).train_file == tiny.rows["train_file"]  # for cache verify --repair
    assert not (out / ".partial").exists()


def test_convert_leaves_finished_copy_unchanged(call, tiny, tmp_path):
    out = tmp_path / "out"
    call("cache", "convert", tiny.arrow, out, "--layers", "2")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    result = call("cache", "convert", tiny.arrow, out, "--layers", "2")
    assert (result.code, result.error) == (0, f"{out} is already this cache, complete")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    result = call("cache", "convert", tiny.arrow, tiny.arrow)
    assert (result.code, result.error) == (0, f"{tiny.arrow} is already this cache, complete")


def test_convert_refuses_bad_options(call, tiny, tmp_path):
    cases = {
        (tiny.float16, "out", "--dtype", "float32"): (
            f"{tiny.float16} holds float16, and as float32 that would not be what the teacher said. "
            "Run cache-teacher with --dtype float32"
        ),
        (tiny.arrow, "out", "--layers", "4"): (
            "--layers 4: layer 4 is outside 1..3 (the last of the teacher's 4 layers is never matched)"
        ),
        (tiny.arrow, "out", "--layers", "all"): "--layers takes layer numbers as 2,4, not 'all'",
        (tmp_path / "gone", "out"): (
            f"{tmp_path}/gone: there is no such cache. "
            f"Make it: python cli.py cache-teacher --cache {tmp_path}/gone --task TASK"
        ),
        (tiny.arrow, "file"): f"{tmp_path}/file is a file. Name another OUT",
        (tiny.arrow, "full"): f"{tmp_path}/full is not empty and not a cache. Name another OUT",
        (tiny.arrow, "other"): (
            f"{tmp_path}/other was made from something else (dtype: float16 ≠ float32). Name another OUT"
        ),
    }
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    shutil.copytree(tiny.float16, tmp_path / "other")
    before = contents(tmp_path)
    for (source, out, *options), text in cases.items():
        result = call("cache", "convert", source, tmp_path / out, *options)
        assert (result.code, result.error) == (2, f"Error: {text}")
    assert contents(tmp_path) == before and not (tmp_path / "out").exists()


def test_convert_refuses_layer_missing_in_source(call, tiny, tmp_path):
    call("cache", "convert", tiny.arrow, tmp_path / "narrow", "--layers", "1,3")
    result = call("cache", "convert", tmp_path / "narrow", tmp_path / "out", "--layers", "2,3")
    assert (result.code, result.error) == (
        2,
        f"Error: {tmp_path}/narrow has no layer 2. Use --layers with some of 1,3",
    )


def test_converted_cache_can_be_converted_again(call, tiny, tmp_path):
    first = call("cache", "convert", tiny.arrow, tmp_path / "a", "--layers", "1,3").json
    call("cache", "convert", tmp_path / "a", tmp_path / "b", "--layers", "3", "--dtype", "float16")
    call("cache", "convert", tiny.arrow, tmp_path / "c", "--dtype", "float16", "--layers", "3")
    b, c = open_cache(tmp_path / "b").manifest, open_cache(tmp_path / "c").manifest
    assert (b.identity, b.content) == (c.identity, c.content)
    assert b.derived_from.identity == first["identity"]


@pytest.mark.parametrize("part", ["input_ids/values", "logits", "cls_02"])
def test_convert_refuses_damaged_shard(call, tiny, tmp_path, part):
    source = shutil.copytree(tiny.arrow, tmp_path / "source")
    shard = open_cache(source).manifest.splits["dev"].shards[1]
    flip_byte(source / shard.file, shard.parts[part].offset + 1)
    result = call("cache", "convert", source, tmp_path / "out", "--dtype", "float16")
    assert result.code == 2
    assert result.error.startswith(f"Error: {source}/dev/00001.arrow is damaged (")
    assert result.error.endswith(f"). Run: python cli.py cache verify {source} --repair")
    assert not (tmp_path / "out" / "manifest.json").exists()
    flip_byte(source / shard.file, shard.parts[part].offset + 1)
    assert call("cache", "convert", source, tmp_path / "out", "--dtype", "float16").code == 0


@pytest.mark.parametrize(
    "kind,reason",
    [
        (
            "flipped",
            "is damaged (its bytes are not those of the manifest). Run: python cli.py cache verify {} --repair",
        ),
        ("gone", "is damaged (No such file or directory). Run: python cli.py cache verify {} --repair"),
        ("link", "is a link, and a cache holds its files itself. Copy it, and use the copy: cp -rL {} {}-copy"),
    ],
)
def test_convert_refuses_damaged_teacher(call, tiny, tmp_path, kind, reason):
    source = shutil.copytree(tiny.arrow, tmp_path / "source")
    file = source / "teacher" / "layer-04.safetensors"
    if kind == "flipped":
        flip_byte(file, file.stat().st_size - 5)
    else:
        file.rename(tmp_path / "elsewhere")
    if kind == "link":
        file.symlink_to(tmp_path / "elsewhere")
    result = call("cache", "convert", source, tmp_path / "out")
    assert (result.code, result.error) == (2, f"Error: {file} {reason.format(source, source)}")
    assert not (tmp_path / "out").exists()


def test_convert_refuses_teacher_damaged_after_its_check(tiny, tmp_path, monkeypatch):
    source = shutil.copytree(tiny.arrow, tmp_path / "source")
    copy = shutil.copyfile

    def flipping(to_read: Path, to_write: Path) -> None:
        copy(to_read, to_write)
        if to_read.name == "config.json":
            flip_byte(to_write, 3)

    monkeypatch.setattr(convert.shutil, "copyfile", flipping)
    with pytest.raises(convert.BadCache) as error:
        convert.run(CacheConvertConfig(cache=str(source), out=str(tmp_path / "out")))
    assert str(error.value).startswith(f"{source}/teacher/config.json is damaged (")


def test_convert_refuses_values_beyond_float16(call, tiny, tmp_path):
    def change(split, index, columns):
        if (split, index) == ("train", 2):
            columns["cls_02"][5, 1] = 1e6

    source = rewritten(tiny.arrow, tmp_path / "source", change)
    result = call("cache", "convert", source, tmp_path / "out", "--dtype", "float16")
    assert (result.code, result.error) == (
        2,
        "Error: cls_02 of example 133 of train is not finite as float16. Keep --dtype float32, or leave layers out "
        "with --layers",
    )
    assert not (tmp_path / "out").exists()
    assert call("cache", "convert", source, tmp_path / "out", "--dtype", "float16", "--layers", "1,3").code == 0
    assert call("cache", "convert", source, tmp_path / "same").code == 0


def test_convert_continues_after_interruption(tiny, tmp_path, monkeypatch):
    config = CacheConvertConfig(cache=str(tiny.arrow), out=str(tmp_path / "out"), dtype="float16", layers="1,2")
    write, written = CacheWriter.write_shard, []

    def interrupted(self, split, index, *rest):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append((split, index))
        return write(self, split, index, *rest)

    monkeypatch.setattr(CacheWriter, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert.run(config)
    assert not (tmp_path / "out" / "manifest.json").exists()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("train/*.arrow")}
    assert len(done) == 4
    monkeypatch.setattr(CacheWriter, "write_shard", write)
    convert.run(config)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    convert.run(CacheConvertConfig(cache=str(tiny.arrow), out=str(tmp_path / "whole"), dtype="float16", layers="1,2"))
    ours, whole = contents(tmp_path / "out"), contents(tmp_path / "whole")
    assert facts(ours.pop("manifest.json")) == facts(whole.pop("manifest.json"))
    assert ours == whole


def test_convert_refuses_directory_of_another_writer(call, tiny, tmp_path):
    out = unfinished_cache(tiny.arrow, tmp_path / "out", 2)
    manifest = open_cache(tiny.arrow).manifest
    writer = CacheWriter(out, manifest.fields, "arrow")
    writer.start()
    holder = writer.lease.holder()
    try:
        result = call("cache", "convert", tiny.arrow, out)
    finally:
        writer.close()
    assert (result.code, result.error) == (
        2,
        f"Error: {out} is being written by {holder}. Wait for it, then run the same command again",
    )


def test_convert_refuses_copy_inside_its_source(call, tiny, in_directory):
    shutil.copytree(tiny.arrow, "toy")
    result = call("cache", "convert", "toy", "toy/train/../copy", "--dtype", "float16")
    assert (result.code, result.error) == (
        2,
        "Error: toy/train/../copy lies inside toy, which is complete as it is. Name another directory",
    )
    assert not Path("toy/copy").exists()
