from hashlib import sha256

import numpy as np
import pytest

from pipeline.cache.open import open_cache
from pipeline.data.metrics import measure
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.distillation.layer_probes import normalised
from tests.helpers.rewriting import flip_byte, rewritten, without_split


def test_info_describes_the_cache(call, tiny):
    found = call("cache", "info", tiny.arrow, "--probe-examples", 0).json
    cache = open_cache(tiny.arrow)
    manifest = cache.manifest
    assert (found["command"], found["cache"]) == ("cache info", str(tiny.arrow))
    assert (found["identity"], found["content"]) == (manifest.identity, manifest.content)
    assert (found["task"], found["labels"], found["metrics"]) == ("toy", ["neg", "pos"], list(SINGLE_LABEL.metrics(2)))
    assert (found["dtype"], found["compute"], found["container"]) == ("float32", "float32", "arrow")
    assert found["splits"]["train"] == {
        "examples": 300,
        "labelled": True,
        "labelled_examples": 300,
        "shards": 5,
    }
    assert found["teacher_metrics"] == manifest.teacher_metrics
    assert found["made"] == manifest.made and found["derived_from"] is None
    groups = found["bytes"]
    assert groups["[CLS]"] == 430 * 3 * 32 * 4
    assert groups["logits"] == 430 * 2 * 4
    assert groups["rows"] == 430 * (8 + 16 + 16 + 8)
    tokens = sum(int(split.lengths.sum()) for split in cache.splits.values())
    assert groups["tokens"] == tokens * (4 + 1) + 2 * 8 * (430 + 8)
    assert sum(groups.values()) == sum(p.stat().st_size for p in tiny.arrow.glob("*/*"))


def test_info_reports_variation_of_each_layer(call, tiny):
    found = call("cache", "info", tiny.float16, "--probe-examples", 0).json
    train = open_cache(tiny.float16).splits["train"]
    assert [layer["layer"] for layer in found["layers"]] == [1, 2, 3]
    for layer in found["layers"]:
        unit = normalised(train.column(f"cls_{layer['layer']:02d}"))
        assert layer["variation"] == pytest.approx(((unit - unit.mean(axis=0)) ** 2).sum(axis=1).mean())
        assert layer["probe"] is None
    assert found["probes"] is None


def test_info_compares_probes_with_teacher_and_majority(call, tiny, tmp_path):
    """Layer 2 is replaced by noise, and the labels of every third dev row are turned: the scores say so."""

    def change(split, index, columns):
        if split == "dev":
            columns["label"][::3] = 1 - columns["label"][::3]
        noise = np.random.default_rng(index).normal(size=columns["cls_02"].shape)
        columns["cls_02"][:] = noise

    cache = rewritten(tiny.arrow, tmp_path / "cache", change)
    result = call("cache", "info", cache)
    dev = open_cache(cache).splits["dev"]
    compared = result.json["probes"]
    share = float(np.bincount(dev.labels).max() / len(dev))
    teacher = measure(SINGLE_LABEL, ["accuracy"], dev.column("logits"), dev.labels)["accuracy"]
    assert teacher == pytest.approx(1 - 30 / 90, abs=0.03)
    assert compared == {"metric": "accuracy", "split": "dev", "examples": 300, "teacher": teacher, "majority": share}
    first, noise, third = result.json["layers"]
    assert first["probe"] == pytest.approx(teacher, abs=0.05) and third["probe"] == pytest.approx(teacher, abs=0.05)
    assert noise["probe"] < 0.62 and noise["variation"] > 0.95
    assert result.stdout.splitlines()[-2] == (
        "variation: 0 where all [CLS] vectors point the same way (nothing to match), 1 where they share no direction; "
        "probe: accuracy on dev of a linear model of that layer's [CLS], trained on 300 examples, beside "
        f"{teacher:.3f} for the teacher and {share:.3f} for the best constant prediction."
    )
    lines = result.stdout.splitlines()
    assert lines[lines.index("layer  variation  probe") + 2].split() == [
        "2",
        f"{noise['variation']:.2g}",
        f"{noise['probe']:.3f}",
    ]


def test_info_is_equal_for_repeated_calls_and_containers(call, tiny):
    first, second, hdf5 = (
        call("cache", "info", place, "--probe-examples", 100).json for place in (tiny.arrow, tiny.arrow, tiny.hdf5)
    )
    assert first == second
    assert first["probes"]["examples"] == 100
    assert (first["layers"], first["probes"]) == (hdf5["layers"], hdf5["probes"])


def test_info_without_dev_split(call, tiny, tmp_path):
    result = call("cache", "info", without_split(tiny.arrow, tmp_path / "cache", "dev"))
    assert result.json["probes"] is None
    assert all(layer["probe"] is None and layer["variation"] > 0 for layer in result.json["layers"])
    assert result.stdout.splitlines()[-2] == (
        "variation: 0 where all [CLS] vectors point the same way (nothing to match), 1 where they share no direction."
    )


def test_info_without_training_split(call, tiny, tmp_path):
    result = call("cache", "info", without_split(tiny.arrow, tmp_path / "cache", "train"))
    assert [layer["variation"] for layer in result.json["layers"]] == [None] * 3


def test_info_names_damaged_shard(call, tiny, tmp_path):
    cache = rewritten(tiny.arrow, tmp_path / "cache", lambda *_: None)
    shard = open_cache(cache).manifest.splits["train"].shards[1]
    flip_byte(cache / shard.file, shard.parts["cls_03"].offset)
    result = call("cache", "info", cache, "--probe-examples", 0)
    assert (result.code, result.json) == (2, None)
    assert result.error == (
        f"Error: {cache}/train/00001.arrow is damaged (the bytes of cls_03 are not those of the manifest). "
        f"Run: python cli.py cache verify {cache} --repair"
    )


@pytest.mark.parametrize("split", ["train", "dev"])
def test_info_refuses_values_that_are_not_finite(call, tiny, tmp_path, split):
    def change(name, index, columns):
        if name == split:
            columns["cls_02"][3, 5] = np.inf

    cache = rewritten(tiny.arrow, tmp_path / "cache", change)
    result = call("cache", "info", cache)
    assert result.code == 2
    assert result.error == f"Error: {cache}: layer 2 holds values that are not finite. Make the cache again"


def test_info_refuses_numbers_that_json_does_not_have(call, tiny, tmp_path):
    cache = rewritten(tiny.arrow, tmp_path / "cache", lambda *_: None)
    text = (cache / "manifest.json").read_text()
    for old, new in (('"accuracy": 1.0', '"accuracy": NaN'), ('"seconds": ', '"seconds": 1e999, "then": ')):
        body = text.replace(old, new, 1).rpartition(',\n "digest"')[0]
        assert new in body
        (cache / "manifest.json").write_text(f'{body},\n "digest": "{sha256(body.encode()).hexdigest()}"\n}}\n')
        result = call("cache", "info", cache)
        assert result.code == 2 and f"{cache}/manifest.json is damaged (ValueError: " in result.error


def test_info_refuses_directory_without_cache(call, in_directory):
    result = call("cache", "info", "data/toy")
    assert result.code == 2
    assert result.error == (
        "Error: data/toy: there is no such cache. Make it: python cli.py cache-teacher --cache data/toy --task TASK"
    )
