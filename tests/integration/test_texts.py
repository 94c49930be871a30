"""The texts of a cache, from the user's rows to every command that reads a cache."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipeline.cache.open import open_cache
from pipeline.cache.writer import CacheWriter
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.ragged import Ragged
from pipeline.data.splits import digest_of
from pipeline.data.texts import decode_texts, text_hashes, without_texts
from stages import cache_teacher
from tests.helpers.imported import write_imported_cache
from tests.helpers.rewriting import contents, rewritten, unfinished_cache
from tests.helpers.sealing import seal


@pytest.fixture(scope="module")
def small(tiny, tmp_path_factory):
    """The directory of a cache of few rows, and the options that make it."""
    root = tmp_path_factory.mktemp("texts")
    (root / "train.csv").write_text("text,label\nThe bad film,neg\nThe Good film,pos\nThe ß🙂 film,neg\n")
    (root / "dev.csv").write_text("text,label\nthe plot was good,pos\nthe plot was bad,neg\n")
    rows = tiny.rows | {"train_file": str(root / "train.csv"), "dev_file": str(root / "dev.csv")}
    del rows["test_file"]
    options = {"teacher": str(tiny.teacher), "layers": "1", "precision": "float32", "yes": True}
    options |= {"shard_rows": 2, "allow_weak_teacher": True}
    cache_teacher.run(CacheTeacherConfig(**rows, **options, cache=str(root / "cache")))
    return root, {**rows, **options}


def words(options: dict) -> list:
    """The options as the words of a command line."""
    pairs = [[f"--{name.replace('_', '-')}", value] for name, value in options.items()]
    return [word for name, value in pairs for word in ([name] if value is True else [name, value])]


def texts(cache, split="train"):
    return [text for shard in open_cache(cache).splits[split].shards for text in decode_texts(shard["text_1"])]


def test_texts_are_kept_as_they_are_in_the_rows(small):
    cache = open_cache(small[0] / "cache")
    assert texts(small[0] / "cache") == ["The bad film", "The Good film", "The ß🙂 film"]
    assert (cache.manifest.fields.format, cache.manifest.fields.texts) == (3, 1)
    assert (cache.manifest.text_key, cache.manifest.task.text_columns) == ("text_hash", ("text",))
    for shard in cache.splits["train"].shards:
        assert (shard["text_hash"] == text_hashes([shard["text_1"]])).all()


def test_texts_that_differ_in_case_alone_are_another_cache(small, call, tmp_path):
    root, options = small
    rows = tmp_path / "train.csv"
    rows.write_text((root / "train.csv").read_text().replace("Good", "good"))
    done = call("cache-teacher", *words(options | {"train_file": rows}), "--cache", tmp_path / "cache")
    assert done.json["identity"] != open_cache(root / "cache").manifest.identity
    found = call("cache", "diff", root / "cache", tmp_path / "cache").json
    assert found["splits"]["train"] | {"columns": {}} == {"a": 3, "b": 3, "same": 2, "differ": 1, "columns": {}}
    assert found["splits"]["train"]["columns"]["logits"]["equal"] == 1.0  # the tokens are the same


def test_no_text_leaves_texts_out_and_says_what_that_forbids(small, call, tmp_path):
    _, options = small
    done = call("cache-teacher", *words(options), "--no-text", "--cache", tmp_path / "cache")
    assert (
        f"{tmp_path}/cache will not have the texts: a student of another tokenizer than the teacher's cannot be "
        "trained from it, and cache export cannot write texts"
    ) in done.stderr
    cache = open_cache(tmp_path / "cache")
    assert (cache.manifest.fields.texts, cache.manifest.text_key) == (0, None)
    assert not {"text_1", "text_hash"} & set(cache.manifest.column_types())
    refused = call("cache-teacher", *words(options), "--cache", tmp_path / "cache")
    assert refused.code == 2 and "texts: 0 ≠ 1" in refused.error


def test_a_training_does_not_read_texts(small, call, tmp_path, monkeypatch):
    root, _ = small
    read = []
    monkeypatch.setattr("pipeline.cache.shards.check_texts", lambda name, column: read.append(name))
    done = call("train-student", "--cache", root / "cache", "--out", tmp_path / "run", "--epochs", 1, "--method", "kd")
    assert done.code == 0 and read == []


@pytest.mark.parametrize(
    ("text", "hashed", "reason"),
    [
        (b"The \xff film", True, "text_1 holds bytes that are not UTF-8"),
        (b"The dad film", False, "the texts of example 0 have another text_hash"),
    ],
)
def test_verify_names_texts_that_are_not_those_of_the_rows(small, call, tmp_path, text, hashed, reason):
    def other(split, index, columns):
        if (split, index) == ("train", 0):
            rows = [text, columns["text_1"][1].tobytes()]
            columns["text_1"] = Ragged(np.frombuffer(b"".join(rows), np.uint8), np.cumsum([0, *map(len, rows)]))
            if hashed:
                columns["text_hash"] = text_hashes([columns["text_1"]])

    rewritten(small[0] / "cache", tmp_path / "cache", other)
    done = call("cache", "verify", tmp_path / "cache")
    assert done.code == 2
    assert f"train/00000.arrow: {reason}" in done.stdout


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["fields"].update(texts=2),
        lambda value: value["fields"].update(texts=0),
        lambda value: value["fields"].update(texts=-1),
        lambda value: value["fields"].update(texts=10**6),
        lambda value: value["fields"].pop("texts"),
        lambda value: value["fields"].update(format=2),
        lambda value: value["task"].update(text_columns=["a", "b"]),
        lambda value: value["task"].update(text_columns=[1]),
        lambda value: value["splits"]["train"].update(labelled_examples=4),
        lambda value: value["splits"]["train"].update(labelled_examples=0),
        lambda value: value["splits"]["train"].update(labelled_examples=True),
        lambda value: value["splits"]["train"].update(labelled_examples=-1),
        lambda value: value["task"].update(text_columns=[""]),
        lambda value: value["splits"]["dev"].update(labelled_examples=1),
        lambda value: value["splits"]["dev"].pop("labelled_examples"),
        lambda value: value["fields"].update(teacher_name="gpt"),
        lambda value: value["fields"].update(teacher_name="gpt", target_values="0" * 64),
    ],
)
def test_a_manifest_that_says_something_else_of_texts_or_labels(small, call, tmp_path, change):
    cache = shutil.copytree(small[0] / "cache", tmp_path / "cache")
    seal(cache, change)
    done = call("cache", "info", cache)
    assert done.code == 2 and done.error.startswith(f"Error: {cache}/manifest.json is damaged (")


def test_verify_counts_the_labels(small, call, tmp_path):
    cache = shutil.copytree(small[0] / "cache", tmp_path / "cache")
    seal(cache, lambda value: value["splits"]["train"].update(labelled_examples=2))
    done = call("cache", "verify", cache)
    assert done.code == 2
    assert "it says that 2 examples of split train have a label, and 3 have one" in done.error


def test_a_split_may_have_labels_for_some_of_its_rows(small, call, tmp_path):
    def unlabelled(split, index, columns):
        if (split, index) == ("train", 0):
            columns["label"][1] = -1

    source = small[0] / "cache"
    splits = open_cache(source).manifest.splits
    rewritten(source, tmp_path / "cache", unlabelled)
    cache = tmp_path / "cache"
    seal(cache, lambda value: value["splits"]["train"].update(labelled_examples=2))
    done = call("cache", "verify", cache)
    assert done.code == 0 and splits["train"].labelled_examples == 3
    info = call("cache", "info", cache)
    assert info.json["splits"]["train"] == {"examples": 3, "labelled": True, "labelled_examples": 2, "shards": 2}
    assert "train 3 (2 with a label)" in info.stdout


# --- version 2 -----------------------------------------------------------------------------------------------


def version_2(source, out):
    """The cache as it would have been written in version 2 of the format."""
    cache = open_cache(source)
    writer = CacheWriter(out, replace(cache.manifest.fields, format=2, texts=0, splits={}), "arrow")
    writer.start()
    types = replace(cache.manifest, fields=replace(cache.manifest.fields, texts=0)).column_types()
    splits = {}
    for name, split in cache.splits.items():
        shards = [writer.write_shard(name, n, without_texts(shard), types) for n, shard in enumerate(split.shards)]
        splits[name] = replace(cache.manifest.splits[name], shards=tuple(shards))
    writer.write_teacher(lambda to: shutil.copytree(cache.teacher, to, dirs_exist_ok=True))
    digests = {name: digest_of([shard.rows_digest for shard in split.shards]) for name, split in splits.items()}
    fields = replace(writer.identity, splits=digests)
    task = replace(cache.manifest.task, text_columns=())
    writer.finish(replace(cache.manifest, fields=fields, splits=splits, task=task))
    return out


def test_a_cache_of_version_2_is_recognised(small, call, tmp_path):
    root, options = small
    cache = version_2(root / "cache", tmp_path / "cache")
    assert json.loads((cache / "manifest.json").read_text())["splits"]["dev"].keys() == {"labelled", "shards"}
    before = contents(cache)
    done = call("cache-teacher", *words(options), "--cache", cache)
    assert done.code == 0 and contents(cache) == before
    assert (
        f"{cache} was made in version 2 of the format and stays as it is: without the texts, which a student of "
        "another tokenizer and cache export need. To have them too, name another --cache"
    ) in done.stderr
    assert f"{cache} is already this cache, complete" in done.stderr


def test_an_unfinished_cache_of_version_2_is_continued(small, call, tmp_path):
    root, options = small
    whole = version_2(root / "cache", tmp_path / "whole")
    cache = unfinished_cache(whole, tmp_path / "cache", 2)
    done = call("cache-teacher", *words(options), "--cache", cache)
    assert done.code == 0 and done.json["identity"] == open_cache(whole).manifest.identity
    assert open_cache(cache).manifest.content == open_cache(whole).manifest.content


def test_other_rows_than_those_of_a_cache_of_version_2_are_refused(small, call, tmp_path):
    root, options = small
    cache = version_2(root / "cache", tmp_path / "cache")
    before = contents(cache)
    refused = call("cache-teacher", *words(options | {"max_length": 16}), "--cache", cache)
    assert refused.code == 2 and "max_length: 128 ≠ 16" in refused.error and contents(cache) == before


# --- targets that were made elsewhere --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(small, tmp_path_factory):
    """A cache without a teacher and without tokens."""
    return write_imported_cache(small[0] / "cache", tmp_path_factory.mktemp("imported") / "cache")


def test_targets_made_elsewhere_are_a_cache(imported, small, call, tmp_path):
    cache = open_cache(imported)
    assert (cache.manifest.has_teacher, cache.manifest.text_key) == (False, "row_hash")
    assert cache.input_columns == ()
    fields = json.loads((imported / "manifest.json").read_text())["fields"]
    assert fields["teacher_name"] == "gpt-5" and not {"max_length", "teacher_weights", "compute"} & set(fields)
    assert call("cache", "verify", imported).code == 0
    assert "not in the cache: its targets were made elsewhere" in call("cache", "info", imported).stdout
    assert "gpt-5" in call("cache", "ls", imported.parent).stdout
    assert call("cache", "gc", imported, "--dry-run").code == 0
    copy = call("cache", "convert", imported, tmp_path / "copy", "--format", "hdf5")
    assert copy.code == 0 and call("cache", "verify", tmp_path / "copy").code == 0
    found = call("cache", "diff", small[0] / "cache", imported).json
    assert found["splits"]["train"]["same"] == 3  # joined by the hashes of the texts


@pytest.mark.parametrize("name", ["model", " ", "a\nb", "x" * 201, "a\u202eb"])
def test_a_manifest_names_the_teacher_as_the_option_may(imported, call, tmp_path, name):
    cache = shutil.copytree(imported, tmp_path / "cache")
    seal(cache, lambda value: value["fields"].update(teacher_name=name))
    done = call("cache", "info", cache)
    assert done.code == 2 and "is not the name of a teacher" in done.error


def test_what_needs_a_teacher_is_refused(imported, call, tmp_path):
    sampled = call("cache", "verify", imported, "--sample", 2)
    assert (sampled.code, sampled.error) == (
        2,
        f"Error: {imported} does not have a teacher: its targets were made elsewhere. Leave --sample out",
    )
    cut = call("cache", "convert", imported, tmp_path / "copy", "--layers", "1")
    assert (cut.code, cut.error) == (
        2,
        f"Error: {imported} does not have any layers: its targets were made elsewhere. Leave --layers out",
    )


def test_texts_of_imported_targets_are_checked(imported, call, tmp_path):
    cache = shutil.copytree(imported, tmp_path / "cache")
    file = cache / "train" / "00000.arrow"
    file.write_bytes(file.read_bytes().replace(b"bad", b"mad"))
    done = call("cache", "verify", cache)
    assert done.code == 2 and "the texts of example 0 have another row_hash" in done.stdout
    repaired = call("cache", "verify", cache, "--repair")
    assert repaired.code == 2
    assert (
        "its targets were made elsewhere: name another copy with --from DIR or URL, whose shards are arrow files too "
        "(cache convert makes one)"
    ) in repaired.stdout
    assert call("cache", "verify", cache, "--repair", "--from", imported).code == 0
