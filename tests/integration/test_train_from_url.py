"""Training from a published cache gives the same student as from a copy, and fetches no more than it needs."""

import shutil

import numpy as np
import pytest

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from tests.helpers.s3 import files_of, s3, server  # noqa: F401
from tests.helpers.sealing import seal

SHORT = ("--max-steps", 12, "--eval-every", 6, "--precision", "float32", "--log-every", 1, "--lr", 1e-3)


def needed(cache, layers, depth):
    """Bytes of the columns and of the teacher's files that a student of `depth` layers matching `layers` reads."""
    manifest = read_manifest(cache)
    rows = ["example_id", "row_hash", "text_hash", "label", "input_ids", "token_type_ids", "logits"]
    parts = {}
    for split, shard in manifest.shards():
        wanted = [*rows, *(f"cls_{layer:02d}" for layer in layers if split == "train")] if split != "test" else []
        parts |= {e.sha256: e.bytes for part, e in shard.parts.items() if part.split("/")[0] in wanted}
    above = {f"layer-{layer:02d}.safetensors" for layer in range(depth + 1, manifest.model.depth + 1)}
    teacher = sum(record.bytes for name, record in manifest.teacher_files.items() if name not in above)
    return sum(parts.values()), teacher


def stored(store, kind):
    return sum(len(data) for data in files_of(store / kind).values())


def train(call, cache, out, *options):
    return call("train-student", "--cache", cache, "--out", out, *SHORT, *options)


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
def test_the_same_student_from_a_bucket(tiny, s3, call, tmp_path, container):  # noqa: F811
    assert call("cache", "push", tiny.__dict__[container], f"{s3.url}/toy").code == 0
    store, options = tmp_path / "store", ("--student-layers", 2, "--store", tmp_path / "store")
    before = s3.relay.passed
    result = train(call, f"{s3.url}/toy", tmp_path / "far", *options)
    assert result.code == 0, result.stderr
    columns, teacher = needed(tiny.__dict__[container], [2], 2)
    assert (stored(store, "columns"), stored(store, "teachers")) == (columns, teacher)
    assert s3.relay.passed - before < columns + teacher + 250_000  # manifest, headers
    assert train(call, tiny.arrow, tmp_path / "near", "--student-layers", 2).code == 0
    for file in ("log.jsonl", "model/model.safetensors", "model/config.json", "model/tokenizer.json"):
        assert (tmp_path / "far" / file).read_bytes() == (tmp_path / "near" / file).read_bytes(), file
    s3.store.rm(f"{s3.url}/blobs", recursive=True)  # the second run needs nothing but the manifest
    again = train(call, f"{s3.url}/toy", tmp_path / "again", *options)
    assert again.code == 0 and "downloading" not in again.stderr
    weights = "model/model.safetensors"
    assert (tmp_path / "again" / weights).read_bytes() == (tmp_path / "near" / weights).read_bytes()
    evaluated = call("evaluate", tmp_path / "near", "--cache", f"{s3.url}/toy", "--split", "dev")
    assert evaluated.code == 2 and "is damaged (its bytes are not there)" in evaluated.error  # another, empty store


def test_a_missing_shard_is_waited_for(tiny, s3, call, tmp_path):  # noqa: F811
    """A connection cut while training delays it and changes nothing."""
    assert call("cache", "push", tiny.arrow, f"{s3.url}/toy").code == 0
    s3.relay.cut_after = s3.relay.passed + 200_000
    far = train(call, f"{s3.url}/toy", tmp_path / "far", "--store", tmp_path / "store", "--method", "pkd-last")
    assert far.code == 0 and s3.relay.cut_after is None
    assert train(call, tiny.arrow, tmp_path / "near", "--method", "pkd-last").code == 0
    assert (tmp_path / "far" / "log.jsonl").read_bytes() == (tmp_path / "near" / "log.jsonl").read_bytes()


def test_a_damaged_blob_stops_training(tiny, s3, call, tmp_path):  # noqa: F811
    assert call("cache", "push", tiny.arrow, f"{s3.url}/toy").code == 0
    record = read_manifest(tiny.arrow).splits["train"].shards[3]
    blob = s3.directory / "blobs" / record.sha256[:2] / record.sha256
    data = bytearray(blob.read_bytes())
    extent = record.parts["cls_02"]
    data[extent.offset + extent.bytes // 2] ^= 1
    blob.write_bytes(data)
    problem = train(call, f"{s3.url}/toy", tmp_path / "run", "--student-layers", 2, "--store", tmp_path / "store")
    assert problem.code == 2 and problem.error == (
        f"Error: {s3.url}/toy: train/00003.arrow is damaged (its bytes are not those of the manifest). "
        f"Push it again from a good copy: python cli.py cache push DIR {s3.url}/toy"
    )
    assert not (tmp_path / "run" / "run.json").exists() and not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "store" / "columns" / extent.sha256[:2] / extent.sha256).exists()


def test_a_store_that_is_too_small_is_said_before_anything_is_fetched(tiny, tmp_path, call):
    url, store = f"file://{tmp_path}/shared/toy", tmp_path / "store"
    assert call("cache", "push", tiny.arrow, url).code == 0
    columns, teacher = needed(tiny.arrow, [2], 2)
    options = ("--student-layers", 2, "--store", store, "--store-bytes")
    for limit, count in ((columns - 1, columns), (columns + teacher - 1, columns + teacher)):
        problem = train(call, url, tmp_path / "run", *options, limit)
        assert problem.code == 2 and problem.error == (
            f"Error: {url}: at least {count:,} bytes of it are needed, and --store-bytes is {limit:,}. Raise "
            f"--store-bytes, or train from a whole copy: python cli.py cache pull {url} DIR"
        )
        assert stored(store, "columns") == stored(store, "teachers") == 0 and not (tmp_path / "run").exists()
    assert train(call, url, tmp_path / "run", *options, columns + teacher).code == 0


def test_the_store_stays_within_its_bound(tiny, tmp_path, call):
    url, store = f"file://{tmp_path}/shared/toy", tmp_path / "store"
    assert call("cache", "push", tiny.arrow, url).code == 0
    limit = sum(needed(tiny.arrow, [2], 2)) + 1000
    for name, layers in (("a", "1"), ("b", "2"), ("c", "3"), ("d", "1")):
        options = ("--student-layers", 2, "--teacher-layers", layers, "--store", store, "--store-bytes", limit)
        assert train(call, url, tmp_path / name, *options).code == 0
        assert stored(store, "columns") + stored(store, "teachers") <= limit
    assert train(call, tiny.arrow, tmp_path / "e", "--student-layers", 2, "--teacher-layers", 1).code == 0
    weights = "model/model.safetensors"
    assert (tmp_path / "d" / weights).read_bytes() == (tmp_path / "e" / weights).read_bytes()


def test_rows_that_are_not_those_of_the_identity(tiny, tmp_path, call):
    """Someone permuted the logits' neighbours, the rows of a shard, and recomputed every digest."""
    from pipeline.system.digests import bytes_digest, file_digest

    cache, url = shutil.copytree(tiny.arrow, tmp_path / "cache"), f"file://{tmp_path}/shared/toy"
    file = cache / "train" / "00000.arrow"
    data = np.frombuffer(file.read_bytes(), np.uint8).copy()
    extent = read_manifest(cache).splits["train"].shards[0].parts["label"]
    labels = data[extent.offset : extent.offset + extent.bytes].view(np.int64)
    labels[:] = 1 - labels
    digest = bytes_digest(labels)
    file.write_bytes(data.tobytes())

    def change(value):
        shard = value["splits"]["train"]["shards"][0]
        shard["sha256"], shard["parts"]["label"]["sha256"] = file_digest(file), digest

    seal(cache, change)
    assert call("cache", "push", cache, url).code == 0
    problem = train(call, url, tmp_path / "run", "--store", tmp_path / "store")
    assert problem.code == 2 and problem.error == (
        f"Error: {url}: train/00000.arrow is damaged (its rows are not those that the identity has for split train). "
        f"Push it again from a good copy: python cli.py cache push DIR {url}"
    )
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_published_cache_is_read_like_a_local_one(tiny, tmp_path, call):
    url = f"file://{tmp_path}/shared/toy"
    assert call("cache", "push", tiny.hdf5, url).code == 0
    near, far = open_cache(tiny.hdf5), open_cache(url, tmp_path / "store")
    assert near.manifest == far.manifest and far.location == url
    for name in near.splits:
        assert np.array_equal(near.splits[name].column("cls_03"), far.splits[name].column("cls_03"))
        assert np.array_equal(near.splits[name].lengths, far.splits[name].lengths)
