"""The bytes of a cache depend neither on the number of processes nor on that of cores."""

import itertools
import multiprocessing
import os
import shutil
from concurrent.futures import Future

import pytest
import torch

from pipeline.cache.format.manifest import MANIFEST
from pipeline.cache.open import open_cache
from pipeline.cache.writer import CacheWriter
from pipeline.errors import BadCache
from pipeline.models.checkpoints import load_classifier, load_tokenizer
from pipeline.system.files import write_file
from pipeline.system.lease import Lease
from pipeline.teacher import running_teacher
from pipeline.teacher.shard_queue import ShardPool, process_shards
from stages import cache_teacher
from tests.helpers.writers import config, contents, recorded, unchanged, words

SOAK = os.environ.get("PKD_SOAK") == "1"
KINDS = list(itertools.product(("float32", "bfloat16"), ("arrow", "hdf5")))
BIG = 64  # examples a shard: several batches of the teacher would need more rows than `tiny` has


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """`made(precision, container)`: what one process on one core writes."""
    root, found = tmp_path_factory.mktemp("made"), {}

    def make(precision, container):
        if (precision, container) not in found:
            out = root / f"{precision}-{container}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(running_teacher, "available_cores", lambda: 1)
                cache_teacher.run(config(tiny, out, precision=precision, format=container, shard_rows=256))
            found[precision, container] = contents(out)
        return found[precision, container]

    return make


@pytest.mark.parametrize("cores", [2, 3])
@pytest.mark.parametrize(("precision", "container"), KINDS)
def test_bytes_do_not_depend_on_the_number_of_cores(tiny, tmp_path, made, monkeypatch, precision, container, cores):
    monkeypatch.setattr(running_teacher, "available_cores", lambda: cores)
    torch.set_num_threads(2)
    cache_teacher.run(config(tiny, tmp_path / "cache", precision=precision, format=container, shard_rows=256))
    assert contents(tmp_path / "cache") == made(precision, container)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.mark.process
@pytest.mark.parametrize(
    ("precision", "container", "count"),
    [(*kind, count) for kind in KINDS for count in (2, 3)] if SOAK else [("float32", "arrow", 2)],
)
def test_bytes_do_not_depend_on_the_number_of_workers(tiny, tmp_path, made, precision, container, count):
    options = dict(precision=precision, format=container, shard_rows=256, workers=count)
    result = cache_teacher.run(config(tiny, tmp_path / "cache", **options))
    assert contents(tmp_path / "cache") == made(precision, container)
    assert open_cache(tmp_path / "cache").manifest.made["computed_examples"] == 430
    assert result.examples_per_second > 0
    assert not [child for child in multiprocessing.active_children() if child.is_alive() and child.join(10)]


def interrupted(tiny, out, monkeypatch, after, **options):
    """A cache whose writer stopped after so many shards."""
    write, left = CacheWriter.write_shard, iter(range(after))

    def stop(self, *arguments):
        if next(left, None) is None:
            raise BadCache("stopped")
        return write(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(BadCache, match=r"^stopped$"):
        patch.setattr(CacheWriter, "write_shard", stop)
        cache_teacher.run(config(tiny, out, **options))


@pytest.mark.process
@pytest.mark.skipif(not SOAK, reason="in the long form; test_kills.py resumes with other numbers of workers too")
def test_a_cache_resumed_by_more_workers(tiny, tmp_path, monkeypatch):
    cache_teacher.run(config(tiny, tmp_path / "whole", shard_rows=16))
    out = tmp_path / "cache"
    interrupted(tiny, out, monkeypatch, 9, shard_rows=16)
    finished = recorded(out)
    assert len(finished) == 9
    cache_teacher.run(config(tiny, out, shard_rows=16, workers=3))
    assert unchanged(out, finished)
    assert contents(out) == contents(tmp_path / "whole")
    made = open_cache(out).manifest.made
    assert made["computed_examples"] == 430 - (90 + 3 * 16)  # the dev split comes first: five shards of 16, one of 10


def test_a_finished_shard_that_was_changed_is_computed_again(tiny, tmp_path, monkeypatch):
    cache_teacher.run(config(tiny, tmp_path / "whole", shard_rows=16))
    out = tmp_path / "cache"
    interrupted(tiny, out, monkeypatch, 9, shard_rows=16)
    shard = out / "train" / "00001.arrow"
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    weights = out / "teacher" / "layer-02.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    cache_teacher.run(config(tiny, out, shard_rows=16))
    assert contents(out) == contents(tmp_path / "whole")


def test_the_teacher_is_not_written_again(tiny, tmp_path, monkeypatch):
    out = tmp_path / "cache"
    interrupted(tiny, out, monkeypatch, 2, shard_rows=16)
    before = {path.name: path.stat().st_ino for path in (out / "teacher").iterdir()}
    cache_teacher.run(config(tiny, out, shard_rows=16))
    assert {path.name: path.stat().st_ino for path in (out / "teacher").iterdir()} == before


def test_who_joins_a_cache_that_is_finished_meanwhile_computes_nothing(tiny, tmp_path, monkeypatch):
    """The manifest is there and the records are gone: the shards are those of the manifest."""
    out = tmp_path / "cache"
    cache_teacher.run(config(tiny, tmp_path / "whole", shard_rows=16))
    interrupted(tiny, out, monkeypatch, 3, shard_rows=16)
    owner = CacheWriter(out, open_cache(tmp_path / "whole").manifest.fields, "arrow")
    assert owner.start()
    acquire, before = Lease.acquire, {}

    def meanwhile(lease):
        if lease.path.suffix == ".lease" and not before:
            before.update({path: path.stat().st_ino for path in (tmp_path / "whole").rglob("*") if path.is_file()})
            shutil.rmtree(out)
            (tmp_path / "whole").rename(out)
        return acquire(lease)

    monkeypatch.setattr(Lease, "acquire", meanwhile)
    cache_teacher.run(config(tiny, out, shard_rows=16, join=True))
    assert before
    assert {path.stat().st_ino for path in out.rglob("*") if path.is_file()} == set(before.values())
    assert not (out / ".partial").exists()


def test_what_a_writer_left_that_died_after_the_manifest_goes(tiny, tmp_path):
    out = shutil.copytree(tiny.arrow, tmp_path / "cache")
    before = contents(out)
    (out / ".partial").mkdir()
    (out / ".partial" / "identity.json").write_text("{}")
    cache_teacher.run(config(tiny, out, dtype="float32", shard_rows=BIG))
    assert contents(out) == before


def test_who_gets_the_lease_of_a_finished_cache_leaves_it_alone(tiny, tmp_path, monkeypatch):
    """It was finished between this call's look and its lease."""
    out = shutil.copytree(tiny.arrow, tmp_path / "cache")
    hidden = (out / MANIFEST).rename(tmp_path / MANIFEST)
    (out / ".partial").mkdir()
    writer = CacheWriter(out, open_cache(tiny.arrow).manifest.fields, "arrow")
    write_file(out / ".partial" / "identity.json", lambda path: path.write_text("{}"))
    before = {path: path.stat().st_ino for path in out.rglob("*") if path.is_file() and ".partial" not in path.parts}
    hidden.rename(out / MANIFEST)
    assert writer.start()
    assert writer.finished().identity == writer.finished().identity
    writer.close()
    assert {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()} == before | {
        out / MANIFEST: (out / MANIFEST).stat().st_ino
    }


def test_a_worker_that_fails_keeps_no_claim(tmp_path):
    """Else this process, or one that waits for it, would wait for that shard for ever."""
    writer = CacheWriter(tmp_path / "cache", None, "arrow")

    def fail(_: object) -> Future:
        failed: Future = Future()
        failed.set_exception(BadCache("no room"))
        return failed

    with pytest.raises(BadCache, match="no room"):
        process_shards(writer, [("dev", 0, 0, 4), ("dev", 1, 4, 8)], ShardPool(2, fail, lambda _: None))
    assert [writer.claim("dev", index).holder() for index in (0, 1)] == [None, None]


@pytest.mark.process
def test_outputs_that_are_not_finite_in_a_worker(call, tiny, tmp_path):
    """The worker's error is the command's: one line with the example, and nothing is left."""
    teacher = shutil.copytree(tiny.teacher / "model", tmp_path / "nan")
    model = load_classifier(str(teacher))
    word = load_tokenizer(str(teacher)).convert_tokens_to_ids("plot")
    model.bert.embeddings.word_embeddings.weight.data[word] *= 1e38
    model.save_pretrained(teacher)
    with open(tiny.rows["dev_file"]) as rows:
        texts = [line.split(",")[0].split() for line in rows.read().splitlines()[1:]]
    said = call(*words(tiny, tmp_path / "cache", teacher=teacher, workers=2, shard_rows=256))
    first = next(example for example, text in enumerate(texts) if "plot" in text)
    assert said.code == 2 and said.error == (
        f"Error: the teacher's logits are not finite for example {first} of dev (stored as float32). "
        "Try another teacher"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nan"]
