"""Opening a cache where the system refuses, or with a store that is none."""

import errno
import os
import shutil

import numpy as np
import pytest
import torch

from pipeline.cache import teacher_config
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.full_check import damaged_files
from pipeline.cache.leftovers import find_leftovers
from pipeline.cache.open import open_cache, open_caches
from pipeline.cache.shards import Shard
from pipeline.cache.teacher_config import damaged_teacher
from pipeline.cache.writer import CacheWriter
from pipeline.errors import BadCache, BadOption, DamagedCache
from tests.helpers.imported import write_imported_cache
from tests.helpers.limits import open_files_left
from tests.helpers.rewriting import flip_byte


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def test_a_cache_keeps_no_file_open_for_each_shard(tiny, store):
    with open_files_left(3):
        cache = open_cache(tiny.arrow, store)
        shards = [shard for split in cache.splits.values() for shard in split.shards]
        columns = [shard["logits"] for shard in shards]
        assert damaged_files(tiny.arrow, cache.manifest, lambda _: None) == {}
    assert len(shards) >= 7 and all(np.isfinite(column).all() for column in columns)


def read_shard(directory):
    manifest = read_manifest(directory)
    cache = open_cache(directory)
    with open_files_left(0):
        Shard(cache.source, manifest, "train", 0)["logits"]


def check_teacher(directory):
    cache = open_cache(directory)
    with open_files_left(0):
        cache.check_teacher((1, 2))


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
@pytest.mark.parametrize(
    "read",
    [
        open_cache,
        read_shard,
        check_teacher,
        find_leftovers,
        lambda directory: damaged_files(directory, MANIFESTS[directory], lambda _: None),
        lambda directory: CacheWriter(directory, MANIFESTS[directory].fields, directory.name).finished(),
    ],
    ids=["open", "shard", "teacher", "gc", "verify", "write"],
)
def test_a_limit_of_the_system_is_not_damage(tiny, container, read):
    directory = getattr(tiny, container)
    MANIFESTS[directory] = read_manifest(directory)
    with pytest.raises(OSError) as error:
        if read in (read_shard, check_teacher):
            read(directory)
        else:
            with open_files_left(0):
                read(directory)
    assert error.value.errno == errno.EMFILE
    open_cache(directory)


MANIFESTS = {}


def test_records_of_an_unfinished_cache_are_not_taken_for_absent(tiny, tmp_path):
    out = shutil.copytree(tiny.arrow, tmp_path / "cache")
    manifest = read_manifest(out)
    (out / "manifest.json").unlink()
    writer = CacheWriter(out, manifest.fields, "arrow")
    writer.start()
    try:
        writer.record("train", 0, manifest.splits["train"].shards[0])
        with open_files_left(0):
            for look in (lambda: writer.written("train", 0), writer.teacher_files, writer.finished):
                with pytest.raises(OSError, match="Too many open files"):
                    look()
        assert writer.written("train", 0) is not None
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            ImportError("Could not import module 'BertModel'"),
            BadCache,
            "the teacher in this cache cannot be loaded here",
        ),
        (OSError(errno.EMFILE, "Too many open files"), OSError, "Too many open files"),
        (MemoryError("no room"), MemoryError, "no room"),
        (ValueError("config.json has hidden_size 8, not 32"), DamagedCache, "the teacher in this cache is damaged"),
    ],
)
def test_a_teacher_that_the_system_cannot_load_is_not_damaged(tiny, store, monkeypatch, error, kind, text):
    def failing(_):
        raise error

    monkeypatch.setattr(teacher_config, "load_config", failing)
    with pytest.raises(kind, match=text) as raised:
        open_cache(tiny.arrow, store).check_teacher((1, 2))
    assert ("damaged" in str(raised.value)) == (kind is DamagedCache)
    with pytest.raises(kind):
        raise damaged_teacher(tiny.arrow / "teacher", error)


@pytest.mark.parametrize(
    ("make", "reason"), [(lambda path: path.write_text(""), "a file"), (os.symlink, "a link to nothing")]
)
@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_store_that_is_no_directory_is_refused(tiny, tmp_path, monkeypatch, make, reason, below):
    place = tmp_path / "place"
    make(*((place,) if reason == "a file" else ("nowhere", place)))
    text = f"the store {place / below}: {place} is {reason}. Name a directory with --store or PKD_STORE"
    for location in (str(tiny.arrow), "file:///none/toy"):
        with pytest.raises(BadOption) as error:
            open_cache(location, place / below)
        assert str(error.value) == text
    monkeypatch.setenv("PKD_STORE", str(place / below))
    open_cache(tiny.arrow)  # which needs no store
    with pytest.raises(BadOption):
        open_cache("file:///none/toy")


def test_joining_no_caches_is_refused():
    with pytest.raises(BadOption, match=r"no cache is named\. Name at least one"):
        open_caches([])


def test_layer_that_is_named_twice_is_not_damage(tiny):
    with pytest.raises(BadOption, match=r"the layers \(1, 1\) name one twice"):
        open_cache(tiny.arrow).initial_student([1, 1])


def test_initial_student_has_layers_of_the_teacher(tiny, tmp_path):
    cache = open_cache(tiny.arrow)
    student, teacher = cache.initial_student(2), cache.initial_student([2, 4])
    assert student.config.num_hidden_layers == teacher.config.num_hidden_layers == 2
    layers = [model.bert.encoder.layer[1].output.dense.weight for model in (student, teacher)]
    assert torch.equal(layers[0], teacher.bert.encoder.layer[0].output.dense.weight) and not torch.equal(*layers)
    for asked in (0, 5, [], [0]):
        with pytest.raises(BadOption, match="has a teacher of the layers 1 to 4"):
            cache.initial_student(asked)
    imported = write_imported_cache(tiny.arrow, tmp_path / "imported")
    with pytest.raises(BadCache, match="does not have a teacher: its targets were made elsewhere"):
        open_cache(imported).initial_student(2)
    damaged = shutil.copytree(tiny.arrow, tmp_path / "damaged")
    flip_byte(damaged / "teacher" / "layer-01.safetensors", -5)
    with pytest.raises(BadCache, match=r"layer-01\.safetensors is damaged"):
        open_cache(damaged).initial_student(1)
