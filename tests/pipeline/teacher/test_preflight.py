"""Whether a teacher is worth caching, and what a cache will take."""

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.data.task_kinds import MULTI_LABEL
from pipeline.data.tasks import TASKS
from pipeline.errors import BadCache, BadModel, BadRows
from pipeline.models.checkpoints import Head, load_classifier, load_tokenizer
from pipeline.system.formatting import duration, size
from pipeline.teacher import preflight
from tests.helpers.encoders import save_pretrained_encoder

check_teacher = partial(preflight.check_teacher, way_on="Check --teacher, train it longer")
SST2, MRPC, COLA = (TASKS[name] for name in ("sst2", "mrpc", "cola"))


def outputs(*classes: int, count: int = 2) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[list(classes)]


def refused(task, logits, labels) -> str:
    with pytest.raises(BadModel) as error:
        check_teacher(task, "dev", logits, np.array(labels))
    return str(error.value)


WAY_ON = "Check --teacher, train it longer, or cache it anyway with --allow-weak-teacher"


def test_better_than_the_most_frequent_label_is_good_enough():
    check_teacher(SST2, "dev", outputs(1, 1, 1, 0), np.array([1, 1, 1, 0]))
    check_teacher(SST2, "dev", outputs(1, 1, 0, 0, 1), np.array([1, 1, 0, 0, 0]))


def test_as_good_as_the_most_frequent_label_is_weak():
    assert refused(SST2, outputs(1, 1, 1, 1), [1, 1, 1, 0]) == (
        f"on dev the teacher's accuracy is 0.750, and the most frequent label alone gives 0.750. {WAY_ON}"
    )


def test_another_order_of_several_labels_is_named():
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]] * 5, np.int8)
    several = replace(SST2, labels=("a", "b", "c"), kind=MULTI_LABEL, metrics=("micro_f1", "accuracy"))
    outputs = np.where(labels[:, [1, 2, 0]] > 0, 4.0, -4.0)
    check_teacher(several, "dev", outputs[:, [2, 0, 1]], labels)
    assert refused(several, outputs, labels) == (
        "on dev the teacher's micro_f1 is 0.333, and the best constant prediction gives 0.714. With its classes in "
        "another order its micro_f1 is 1.000: add --label-map b,c,a"
    )


def test_another_order_of_the_labels_is_named():
    assert refused(SST2, outputs(0, 0, 1, 1, 1), [1, 1, 0, 0, 1]) == (
        "on dev the teacher's accuracy is 0.200, and the most frequent label alone gives 0.600. With its classes in "
        "another order its accuracy is 0.800: add --label-map positive,negative"
    )
    mnli = TASKS["mnli"]
    labels = [0, 1, 2] * 5
    shifted = outputs(*([1, 2, 0] * 5), count=3)
    assert refused(mnli, shifted, labels) == (
        "on dev the teacher's accuracy is 0.000, and the most frequent label alone gives 0.333. With its classes in "
        f"another order its accuracy is 1.000: add --label-map {','.join(mnli.labels[i] for i in (2, 0, 1))}"
    )


def test_two_swapped_classes_of_four_are_named_although_the_teacher_is_not_weak():
    four = replace(SST2, name="mine", labels=("a, b", "c", "d", "it's"))
    text = refused(four, outputs(*[0, 1, 3, 2] * 10, count=4), [0, 1, 2, 3] * 10)
    assert text == (
        "on dev the teacher's accuracy is 0.500. With its classes in another order its accuracy is 1.000: add "
        """--label-map '["a, b", "c", "it'"'"'s", "d"]'"""
    )


def test_names_that_a_cache_cannot_keep_are_refused_before_the_training():
    preflight.check_label_names(SST2)
    for labels in (("good", "\x1b[2Jbad"), ("good", "\ud800"), tuple(map(str, range(60_000)))):
        with pytest.raises(BadRows, match=f"^the {len(labels):,} labels of mine cannot be kept in a cache"):
            preflight.check_label_names(replace(SST2, name="mine", labels=labels))


def test_another_order_has_to_be_better_by_ten_points():
    assert refused(SST2, outputs(*[0] * 50, *[1] * 50), [1] * 26 + [0] * 51 + [1] * 23).endswith(WAY_ON)  # 0.47, 0.53


def test_the_first_metric_of_the_task_decides():
    # F1 of always "equivalent" is 0.857; this teacher's accuracy and F1 are lower, its MCC is chance
    labels = [1] * 75 + [0] * 25
    logits = outputs(*[1] * 60, *[0] * 15, *[1] * 17, *[0] * 8)
    assert refused(MRPC, logits, labels) == (
        f"on dev the teacher's f1 is 0.789, and the most frequent label alone gives 0.857. {WAY_ON}"
    )
    assert refused(COLA, outputs(1, 1, 1, 1), [1, 1, 1, 0]) == (
        f"on dev the teacher's matthews_correlation is 0.000, and the most frequent label alone gives 0.000. {WAY_ON}"
    )
    check_teacher(COLA, "dev", outputs(1, 1, 0, 0, 0, 0), np.array([1, 1, 1, 1, 1, 0]))  # accuracy 0.5


def test_the_order_that_it_has_is_not_another_one():
    """By F1 it is no better than the majority; by accuracy, with its classes as they are, it is."""
    labels = [1] * 68 + [0] * 32
    check_teacher(MRPC, "dev", outputs(*[1] * 46, *[0] * 22, *[0] * 32), np.array(labels))


def test_a_split_of_one_label_says_nothing():
    check_teacher(SST2, "dev", outputs(0, 0, 1), np.array([1, 1, 1]))


def test_bytes_needed_are_those_that_a_cache_takes(tiny):
    for name in ("arrow", "hdf5", "float16"):
        manifest = open_cache(getattr(tiny, name)).manifest
        splits = open_cache(getattr(tiny, name)).splits
        work = [
            (split, index, index * 64, min((index + 1) * 64, len(part)))
            for split, part in splits.items()
            for index in range(len(part.shards))
        ]
        needed = preflight.bytes_needed(manifest, splits, work)
        assert manifest.bytes <= needed <= manifest.bytes + len(work) * preflight.SHARD_OVERHEAD


def test_too_little_space_is_refused_with_both_numbers(tmp_path, monkeypatch):
    usage = preflight.shutil.disk_usage
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda place: usage(place)._replace(free=9_000_000_000))
    assert preflight.check_space(tmp_path / "not" / "yet", 9_000_000_000) == 9_000_000_000
    with pytest.raises(BadCache) as error:
        preflight.check_space(tmp_path / "not" / "yet", 12_345_678_901)
    assert str(error.value) == (
        f"{tmp_path}/not/yet needs 12 GB, and 9.0 GB are free there. Make room, name another --cache, or keep less "
        "with --layers or --dtype float16"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_345, "12 kB"), (4.2e6, "4.2 MB"), (2e12, "2.0 TB")],
)
def test_sizes_for_people(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (36e3, "10.0 h")],
)
def test_durations_for_people(seconds, text):
    assert duration(seconds) == text


def cache(call, tiny, out, *flags, **options):
    defaults = {"teacher": tiny.teacher, "precision": "float32", "dtype": "float32", "shard_rows": 64, "cache": out}
    given = tiny.rows | defaults | options
    return call("cache-teacher", *(f"--{name.replace('_', '-')}={value}" for name, value in given.items()), *flags)


def test_the_note_before_the_first_shard(call, tiny, tmp_path):
    said = cache(call, tiny, tmp_path / "cache")
    shards = open_cache(tiny.arrow).manifest.bytes
    note = next(line for line in said.stderr.splitlines() if line.startswith(f"{tmp_path}/cache: "))
    shape = (
        rf"{re.escape(str(tmp_path))}/cache: 430 examples in 8 shards, \[CLS\] of layers 1, 2, 3; "
        r"(\d+) kB needed, [\d.]+ [kMGT]B free; about \d+ s by a measured batch"
    )
    weights = sum(path.stat().st_size for path in (tiny.arrow / "teacher").glob("*.safetensors"))
    needed = int(re.fullmatch(shape, note)[1]) * 1000
    assert shards + 0.95 * weights < needed < shards + weights + 8 * preflight.SHARD_OVERHEAD


def test_too_little_space_stops_before_anything_is_written(call, tiny, tmp_path, monkeypatch):
    usage = preflight.shutil.disk_usage
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda place: usage(place)._replace(free=100_000))
    said = cache(call, tiny, tmp_path / "cache")
    assert said.code == 2
    assert re.fullmatch(
        rf"Error: {re.escape(str(tmp_path))}/cache needs \d+ kB, and 100 kB are free there. Make room, name another "
        "--cache, or keep less with --layers or --dtype float16",
        said.error,
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("labels", [("good", "\x1b[2Jbad"), ("good", "\ud800"), tuple(map(str, range(60_000)))])
def test_labels_that_no_reader_would_take(tiny, labels):
    """Said before the teacher runs, not when the manifest is written."""
    manifest = read_manifest(tiny.arrow)
    preflight.check_labels(manifest)
    changed = replace(
        manifest, task=replace(manifest.task, labels=labels), model=replace(manifest.model, classes=len(labels))
    )
    with pytest.raises(BadRows, match=f"the {len(labels):,} labels of toy cannot be written into a manifest"):
        preflight.check_labels(changed)


@pytest.fixture
def weak(tiny, tmp_path):
    """A teacher that says the same label of everything."""
    return changed_head(tiny, tmp_path / "weak", lambda head: (head.weight.zero_(), head.bias.copy_(head.bias * 0)))


def changed_head(tiny, directory, change):
    shutil.copytree(tiny.teacher / "model", directory)
    model = load_classifier(str(directory))
    with torch.no_grad():
        change(model.classifier)
    model.save_pretrained(directory)
    return directory


def test_a_weak_teacher_leaves_nothing_behind(call, tiny, weak, tmp_path):
    labels = open_cache(tiny.arrow).splits["dev"].labels
    reached, majority = (labels == 0).mean(), max((labels == 0).mean(), (labels == 1).mean())
    said = cache(call, tiny, tmp_path / "cache", teacher=weak)
    assert said.code == 2 and said.error == (
        f"Error: on dev the teacher's accuracy is {reached:.3f}, and the most frequent label alone gives "
        f"{majority:.3f}. {WAY_ON}"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["weak"]
    assert cache(call, tiny, tmp_path / "cache", "--allow-weak-teacher", teacher=weak).code == 0
    assert open_cache(tmp_path / "cache").manifest.teacher_metrics["dev"]["accuracy"] == pytest.approx(reached)


def test_permuted_labels_are_named_and_mapped(call, tiny, tmp_path):
    permuted = changed_head(
        tiny,
        tmp_path / "permuted",
        lambda head: (head.weight.copy_(head.weight.flip(0)), head.bias.copy_(head.bias.flip(0))),
    )
    right = open_cache(tiny.arrow).manifest.teacher_metrics
    said = cache(call, tiny, tmp_path / "cache", teacher=permuted)
    labels = open_cache(tiny.arrow).splits["dev"].labels
    majority = max((labels == 0).mean(), (labels == 1).mean())
    accuracy = right["dev"]["accuracy"]
    assert said.code == 2 and said.error == (
        f"Error: on dev the teacher's accuracy is {1 - accuracy:.3f}, and the most frequent label alone gives "
        f"{majority:.3f}. With its classes in another order its accuracy is {accuracy:.3f}: add --label-map pos,neg"
    )
    assert not (tmp_path / "cache").exists()
    assert cache(call, tiny, tmp_path / "cache", "--label-map=pos,neg", teacher=permuted).code == 0
    manifest = open_cache(tmp_path / "cache").manifest
    assert manifest.task.labels == ("pos", "neg")
    for split, scores in right.items():  # F1 is that of the same class as before
        now = manifest.teacher_metrics[split]
        assert (now["accuracy"], now["f1:pos"]) == pytest.approx((scores["accuracy"], scores["f1"]))


@pytest.mark.parametrize("wrong", ["pos", "pos,neg,neg", "pos,pos", "pos,bad", "pos, neg"])
def test_a_label_map_of_other_names(call, tiny, tmp_path, wrong):
    said = cache(call, tiny, tmp_path / "cache", label_map=wrong)
    assert said.code == 2
    assert said.error == f"Error: --label-map must name each of neg,pos once, not {wrong}"
    assert list(tmp_path.iterdir()) == []


def test_a_dev_split_of_one_label(call, tiny, weak, tmp_path):
    lines = Path(tiny.rows["dev_file"]).read_text().splitlines()
    dev = tmp_path / "dev.csv"
    dev.write_text("\n".join([lines[0], *(line for line in lines if line.endswith(",pos"))]) + "\n")
    assert cache(call, tiny, tmp_path / "cache", teacher=weak, dev_file=dev).code == 0


def test_regression_is_not_refused(call, tmp_path):
    encoder = save_pretrained_encoder(tmp_path / "encoder")
    load_classifier(str(encoder), head=Head(1, (), "regression")).save_pretrained(encoder)
    glue = tmp_path / "STS-B"
    glue.mkdir()
    rows = [f"{i}\tm\tf\ty\t{i}\ts\ts\tfilm {'good ' * i}\tplot\t{5 - i:.3f}" for i in range(6)]
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    for split in ("train", "dev"):
        (glue / f"{split}.tsv").write_text("\n".join([header, *rows]) + "\n")
    out = tmp_path / "cache"
    said = call("cache-teacher", "--task=stsb", f"--data-dir={glue}", f"--teacher={encoder}", f"--cache={out}")
    assert said.code == 0, said.error
    pearson = open_cache(out).manifest.teacher_metrics["dev"]["pearson"]
    warning = "warning: on dev the teacher's scores do not rise with the labels. Check the teacher"
    assert (warning in said.stderr) is (pearson <= 0)
    mapped = call("cache-teacher", "--task=stsb", f"--data-dir={glue}", f"--teacher={encoder}", "--label-map=a,b")
    assert mapped.error == "Error: --label-map names classes, and stsb does not have any: leave it out"


def test_outputs_that_are_not_finite_name_their_example(call, tiny, tmp_path):
    teacher = teacher_that_knows_no(tiny, tmp_path / "nan", "plot")
    texts = [line.split(",")[0].split() for line in Path(tiny.rows["dev_file"]).read_text().splitlines()[1:]]
    first = next(i for i, words in enumerate(texts) if "plot" in words)
    said = cache(call, tiny, tmp_path / "cache", teacher=teacher)
    assert said.code == 2 and said.error == (
        f"Error: the teacher's logits are not finite for example {first} of dev (stored as float32). "
        "Try another teacher"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nan"]


def teacher_that_knows_no(tiny, directory, word):
    """Its outputs are not finite for the examples with this word."""
    shutil.copytree(tiny.teacher / "model", directory)
    model = load_classifier(str(directory))
    model.bert.embeddings.word_embeddings.weight.data[load_tokenizer(str(directory)).convert_tokens_to_ids(word)] *= (
        1e38
    )
    model.save_pretrained(directory)
    return directory


def test_only_the_work_that_is_left_counts(tiny):
    opened = open_cache(tiny.arrow)
    manifest, splits = replace(opened.manifest, splits={}), opened.splits
    whole = [("dev", 0, 0, 64), ("dev", 1, 64, 90)]
    assert preflight.bytes_needed(manifest, splits, whole[1:]) < preflight.bytes_needed(manifest, splits, whole)
    assert preflight.bytes_needed(manifest, splits, []) == 0
