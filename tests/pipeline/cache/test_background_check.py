"""A run counts only on verified bytes: nothing that stays is written before every shard that was read was checked."""

import contextlib
import dataclasses
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

from pipeline.cache import background_check, user_store
from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.cache.shard_writer import write_shard
from pipeline.config.training import TrainStudentConfig
from pipeline.data.ragged import Ragged
from pipeline.errors import BadCache, Interrupted
from stages import train_student
from tests.helpers.waiting import wait_until

OPTIONS = dict(max_steps=6, eval_every=3, precision="float32", log_every=1, lr=1e-3)
KEPT = ("run.json", "model", "checkpoint.safetensors")


def train(cache, out, **options):
    return train_student.run(TrainStudentConfig(cache=str(cache), out=str(out), **(OPTIONS | options)))


def model_bytes(out):
    return {path.name: path.read_bytes() for path in sorted((out / "model").iterdir())}


@pytest.fixture
def cache(tiny, tmp_path, monkeypatch):
    """A copy of a cache, and a store that knows nothing of it. Files count as settled at once."""
    monkeypatch.setenv("PKD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(user_store, "SETTLED_NS", 0)
    return shutil.copytree(tiny.arrow, tmp_path / "cache")


@pytest.fixture
def gate(monkeypatch):
    """The check of each shard waits until `gate.set()`; `gate.checked` are the files of those checked since."""
    gate, verify = threading.Event(), background_check.verify_shard
    gate.checked = []

    def slow(shard, *arguments):
        assert gate.wait(60)
        verify(shard, *arguments)
        gate.checked.append(shard.record.file)

    monkeypatch.setattr(background_check, "verify_shard", slow)
    yield gate
    gate.set()


@pytest.fixture
def hashed(monkeypatch):
    """The sizes of all that was compared with a digest."""
    sizes, digest = [], background_check.bytes_digest

    def count(data):
        sizes.append(len(data))
        return digest(data)

    monkeypatch.setattr(background_check, "bytes_digest", count)
    return sizes


@contextlib.contextmanager
def meanwhile(watch):
    """`watch` in a thread; its exceptions here."""
    problems = []

    def run():
        try:
            watch()
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
    assert not problems, problems


def logged(out):
    log = out / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def damage(cache, column, shard="00002", split="train", where=0):
    """Flip a bit of a column of a shard, where no schema tells."""
    manifest = open_cache(cache).manifest
    extent = manifest.splits[split].shards[int(shard)].parts[column]
    path = cache / split / f"{shard}.arrow"
    data = bytearray(path.read_bytes())
    data[extent.offset + where % extent.bytes] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_end_waits_for_the_check(cache, tmp_path, gate, damaged):
    out, seen = tmp_path / "run", []
    if damaged:
        damage(cache, "logits", "00001", "dev")  # the last one to be checked

    def watch():
        wait_until(lambda: len([line for line in logged(out) if line["kind"] == "eval"]) == 2)  # the last step is done
        time.sleep(0.3)
        seen.append([name for name in KEPT if (out / name).exists()])
        gate.set()

    with meanwhile(watch), pytest.raises(BadCache) if damaged else contextlib.nullcontext():
        train(cache, out)
    assert seen == [[]]
    shards = [f"{path.parent.name}/{path.name}" for path in cache.glob("*/0*.arrow") if path.parent.name != "test"]
    assert sorted(gate.checked) == sorted({*shards} - ({"dev/00001.arrow"} if damaged else set()))
    assert [name for name in KEPT if (out / name).exists()] == ([] if damaged else ["run.json", "model"])


@pytest.mark.parametrize("why", ["time", "signal"])
def test_a_checkpoint_waits_for_the_check(cache, tmp_path, gate, why):
    out, seen = tmp_path / "run", []

    def watch():
        wait_until(lambda: out.exists() and (out / "started.json").exists())
        if why == "signal":
            wait_until(lambda: logged(out))
            os.kill(os.getpid(), 15)
        time.sleep(0.5)
        seen.append([name for name in KEPT if (out / name).exists()])
        gate.set()

    stopped = pytest.raises(Interrupted) if why == "signal" else contextlib.nullcontext()
    many = dict(max_steps=100_000, eval_every=100_000) if why == "signal" else {}
    with meanwhile(watch), stopped:
        train(cache, out, checkpoint_seconds=1e9 if why == "signal" else 0, **many)
    assert seen == [[]]
    assert (out / "checkpoint.safetensors").exists() is (why == "signal")


@pytest.mark.parametrize("checkpoint_seconds", [0, 1e9])
def test_a_damaged_shard_found_late(call, cache, tiny, tmp_path, checkpoint_seconds):
    """It stops the run, which then goes on after the repair, to the student of an undamaged cache."""
    train(tiny.arrow, tmp_path / "good")
    damage(cache, "cls_02")
    out = tmp_path / "run"
    with pytest.raises(BadCache) as error:
        train(cache, out, checkpoint_seconds=checkpoint_seconds)
    assert str(error.value) == (
        f"{cache}/train/00002.arrow is damaged (the bytes of cls_02 are not those of the manifest). "
        f"Run: python cli.py cache verify {cache} --repair"
    )
    assert [name for name in KEPT if (out / name).exists()] == []
    with pytest.raises(BadCache):
        train(cache, out, resume=True)
    said = call("cache", "verify", cache, "--repair")
    assert said.code == 0, said.error
    train(cache, out, resume=True)
    assert model_bytes(out) == model_bytes(tmp_path / "good")
    lines = [{k: v for k, v in line.items() if "second" not in k} for line in logged(out)]
    assert lines == [{k: v for k, v in line.items() if "second" not in k} for line in logged(tmp_path / "good")]


def test_a_long_training_stops_at_the_damage(cache, tmp_path):
    damage(cache, "logits")
    with pytest.raises(BadCache, match=r"the bytes of logits are not those of the manifest"):
        train(cache, tmp_path / "run", max_steps=1_000_000, eval_every=1_000_000)
    assert [name for name in KEPT if (tmp_path / "run" / name).exists()] == []


def test_other_tokens_name_their_row(cache, tmp_path):
    shard = open_cache(cache).splits["train"].shards[1]
    row = 7
    start = int(shard["input_ids"].offsets[row])
    damage(cache, "input_ids/values", "00001", where=4 * (start + 1))  # the word after [CLS]
    with pytest.raises(BadCache) as error:
        train(cache, tmp_path / "run", method="ft")
    assert str(error.value) == (
        f"{cache}/train/00001.arrow is damaged (the bytes of input_ids/values are not those of the manifest; the "
        f"tokens of example {64 + row} have another row_hash). Run: python cli.py cache verify {cache} --repair"
    )


def test_a_damaged_dev_split_counts_too(cache, tmp_path):
    damage(cache, "logits", "00001", "dev")
    with pytest.raises(BadCache) as error:
        train(cache, tmp_path / "run")
    assert str(error.value).startswith(f"{cache}/dev/00001.arrow is damaged (the bytes of logits are not")


def test_rows_in_another_order_with_new_digests(cache, tmp_path):
    """Whoever computes every digest of a shard again is caught by the identity's."""
    manifest = read_manifest(cache)
    shard = open_cache(cache).splits["train"].shards[0]
    order = np.arange(64)[::-1]
    columns = {}
    for name in shard:
        column = shard[name]
        if isinstance(column, Ragged):
            rows = [column[i] for i in order]
            columns[name] = Ragged(np.concatenate(rows), np.concatenate([[0], np.cumsum([len(r) for r in rows])]))
        else:
            columns[name] = column.copy() if name == "example_id" else column[order]
    file = "train/00000.arrow"
    made = write_shard(cache / file, file, "arrow", columns, manifest.column_types())
    record = manifest.splits["train"].shards[0]
    assert made.rows_digest != record.rows_digest
    shards = (dataclasses.replace(made, rows_digest=record.rows_digest), *manifest.splits["train"].shards[1:])
    splits = {**manifest.splits, "train": dataclasses.replace(manifest.splits["train"], shards=shards)}
    dataclasses.replace(manifest, splits=splits).write(cache)
    with pytest.raises(BadCache) as error:
        train(cache, tmp_path / "run", method="ft")
    assert str(error.value) == (
        f"{cache}/train/00000.arrow is damaged (its rows are not those that the identity has for split train). "
        f"Run: python cli.py cache verify {cache} --repair"
    )


def test_what_was_checked_is_remembered_and_not_in_the_cache(cache, tmp_path, hashed):
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    train(cache, tmp_path / "first")
    shards = [*cache.glob("train/*.arrow"), *cache.glob("dev/*.arrow")]
    assert sorted(hashed) == sorted(path.stat().st_size for path in shards)
    hashed.clear()
    train(cache, tmp_path / "second", method="kd")
    assert hashed == []
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before
    assert model_bytes(tmp_path / "first").keys() == model_bytes(tmp_path / "second").keys()
    assert list((tmp_path / "store" / "verified").rglob("*.json"))


@pytest.mark.parametrize("how", ["touched", "replaced", "written"])
def test_a_file_that_changes_is_checked_again(cache, tmp_path, hashed, how):
    train(cache, tmp_path / "first")
    hashed.clear()
    shard = cache / "train" / "00001.arrow"
    if how == "touched":
        os.utime(shard)
    elif how == "written":
        shard.write_bytes(shard.read_bytes())
    else:
        found = shard.stat()
        shutil.copy(shard, tmp_path / "copy")
        os.utime(tmp_path / "copy", ns=(found.st_atime_ns, found.st_mtime_ns))
        (tmp_path / "copy").rename(shard)
    train(cache, tmp_path / "second", seed=1)
    assert hashed == [shard.stat().st_size]


def test_damage_that_keeps_size_and_time_is_found(cache, tmp_path):
    """The change time gives it away."""
    train(cache, tmp_path / "first")
    shard = cache / "train" / "00002.arrow"
    found = shard.stat()
    damage(cache, "cls_02")
    os.utime(shard, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(BadCache, match="the bytes of cls_02"):
        train(cache, tmp_path / "second", seed=1)


def test_a_file_that_just_changed_is_not_remembered(cache, tmp_path, hashed, monkeypatch):
    """It could change once more within the resolution of its time."""
    monkeypatch.setattr(user_store, "SETTLED_NS", 3600 * 10**9)
    train(cache, tmp_path / "first")
    seen = sorted(hashed)
    hashed.clear()
    train(cache, tmp_path / "second", seed=1)
    assert sorted(hashed) == seen != []


@pytest.mark.parametrize("store_is", ["a file", "damaged"])
def test_a_store_that_cannot_be_used_is_no_error(cache, tmp_path, hashed, store_is):
    if store_is == "a file":
        (tmp_path / "store").write_text("")
    else:
        train(cache, tmp_path / "before", seed=2)
        for path in (tmp_path / "store" / "verified").rglob("*.json"):
            path.write_text("{" if path.name < "8" else "[]")
        hashed.clear()
    train(cache, tmp_path / "first")
    assert len(hashed) == 7


def test_an_expected_identity(cache, tiny, tmp_path):
    identity = open_cache(cache).manifest.identity
    train(cache, tmp_path / "full", expect_identity=identity)
    train(cache, tmp_path / "short", expect_identity=identity[:12].upper())
    wrong = ("0" if identity[0] != "0" else "1") + identity[1:12]
    for expected, said in {
        wrong: wrong,
        identity[:11]: identity[:11],
        "": "an empty one",
        identity + "0": identity + "0",
    }.items():
        with pytest.raises(BadCache) as error:
            train(cache, tmp_path / "wrong", expect_identity=expected)
        assert str(error.value) == (
            f"{cache} has the identity {identity}, not {said} (12 digits or more). "
            f"See what it is: python cli.py cache info {cache}"
        )
    assert not (tmp_path / "wrong").exists()


def test_a_file_replaced_while_a_student_trains_on_the_old_one(cache, tiny, tmp_path, gate):
    train_options = dict(max_steps=20, eval_every=10)  # two epochs: every shard is mapped after the first

    def watch():
        wait_until(lambda: len([line for line in logged(tmp_path / "run") if line["kind"] == "eval"]) == 1)
        copy = shutil.copytree(cache, tmp_path / "copy")
        damage(copy, "cls_02")
        (copy / "train" / "00002.arrow").rename(cache / "train" / "00002.arrow")
        gate.set()

    with meanwhile(watch):
        train(cache, tmp_path / "run", **train_options)
    train(tiny.arrow, tmp_path / "good", **train_options)
    assert model_bytes(tmp_path / "run") == model_bytes(tmp_path / "good")
    with pytest.raises(BadCache, match="the bytes of cls_02"):  # and the new one is not taken for the old one
        train(cache, tmp_path / "next", **train_options)


def test_hdf5_is_checked_likewise(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PKD_STORE", str(tmp_path / "store"))
    cache = shutil.copytree(tiny.hdf5, tmp_path / "cache")
    suffix = CONTAINERS["hdf5"].suffix
    path = cache / "train" / f"00002{suffix}"
    extent = open_cache(cache).manifest.splits["train"].shards[2].parts["cls_02"]
    data = bytearray(path.read_bytes())
    data[extent.offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadCache) as error:
        train(cache, tmp_path / "run")
    assert str(error.value) == (
        f"{path} is damaged (the bytes of cls_02 are not those of the manifest). "
        f"Run: python cli.py cache verify {cache} --repair"
    )
