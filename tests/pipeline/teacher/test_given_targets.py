import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cache.open import open_cache
from pipeline.cache.writer import CacheWriter
from pipeline.config.cache import CacheExportConfig
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.texts import decode_texts
from pipeline.errors import BadCache, BadModel, BadRows
from stages import cache_teacher
from stages.cache import export
from tests.helpers.rows import write_rows


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Options that name rows with the targets of a teacher that is right in nine rows of ten."""
    root = tmp_path_factory.mktemp("targets")
    paths = {}
    for name, count, seed in (("train_file", 60, 1), ("dev_file", 40, 2)):
        rows = [*csv.DictReader(write_rows(root / f"{name}.csv", count, seed).open())]
        for number, row in enumerate(rows):
            p = 0.8 if (row["label"] == "pos") == (number % 10 > 0) else 0.3
            row.update(p=[1 - p, p], reversed=[p, 1 - p], useless=[0.5, 0.5])
        paths[name] = root / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(path) for name, path in paths.items()}


def config(files, out, **options):
    defaults = dict(task="toy", text_columns="text", label_column="label", target_columns="p", teacher_name="gpt")
    return CacheTeacherConfig(**files | defaults | {"shard_rows": 16, "cache": str(out)} | options)


def rows_of(path):
    return [json.loads(line) for line in Path(path).open()]


def test_a_cache_of_given_targets_holds_texts_labels_and_logits(files, tmp_path, capsys):
    result = cache_teacher.run(config(files, tmp_path / "arrow"))
    assert (result.targets_from, result.examples, result.layers) == ("gpt", {"train": 60, "dev": 40}, [])
    assert result.teacher_metrics["dev"]["accuracy"] == 0.9
    assert "the cache has neither tokens nor a teacher/: train-student needs --init MODEL" in capsys.readouterr().err
    cache = open_cache(tmp_path / "arrow")
    for name, split in cache.splits.items():
        rows = rows_of(files[f"{name}_file"])
        ids = np.arange(len(rows))
        assert decode_texts(split.rows(ids).ragged("text_1")) == [row["text"] for row in rows]
        assert split.labels.tolist() == [("neg", "pos").index(row["label"]) for row in rows]
        np.testing.assert_allclose(np.exp(split.column("logits")), [row["p"] for row in rows], rtol=1e-6)
    assert sorted(path.name for path in (tmp_path / "arrow").iterdir()) == ["dev", "manifest.json", "train"]
    assert cache_teacher.run(config(files, tmp_path / "hdf5", format="hdf5")).identity == result.identity
    assert open_cache(tmp_path / "hdf5").manifest.content == cache.manifest.content


def test_the_same_targets_are_complete_and_others_are_refused_by_field(files, tmp_path):
    first = cache_teacher.run(config(files, tmp_path / "cache"))
    assert cache_teacher.run(config(files, tmp_path / "cache")).identity == first.identity
    with pytest.raises(BadCache, match=r"was made from something else \(teacher_name: gpt ≠ llama\)\. Name another"):
        cache_teacher.run(config(files, tmp_path / "cache", teacher_name="llama"))
    with pytest.raises(BadCache, match=r"\(target_values: [0-9a-f]{8}… ≠ [0-9a-f]{8}…\)\. Name another --cache"):
        cache_teacher.run(config(files, tmp_path / "cache", target_columns="reversed"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            "reversed",
            "on dev the teacher's accuracy is 0.100, and the most frequent label alone gives 0.625. With its classes "
            "in another order its accuracy is 0.900: add --label-map pos,neg",
        ),
        (
            "useless",
            "on dev the teacher's accuracy is 0.625, and the most frequent label alone gives 0.625. Check "
            "--target-columns, or cache it anyway with --allow-weak-teacher",
        ),
    ],
)
def test_a_weak_teacher_and_another_order_of_classes_are_named_and_leave_nothing(files, tmp_path, column, message):
    with pytest.raises(BadModel) as error:
        cache_teacher.run(config(files, tmp_path / "cache", target_columns=column))
    assert str(error.value) == message
    assert not (tmp_path / "cache").exists()
    if column == "reversed":
        result = cache_teacher.run(config(files, tmp_path / "cache", target_columns=column, label_map="pos,neg"))
        assert result.teacher_metrics["dev"]["accuracy"] == 0.9


def test_an_interrupted_cache_of_given_targets_goes_on(files, tmp_path, monkeypatch):
    write, written = CacheWriter.write_shard, []

    def counted(writer, split, index, *arguments):
        if len(written) == 4:
            raise BadCache("stopped")
        written.append((split, index))
        return write(writer, split, index, *arguments)

    with monkeypatch.context() as patch, pytest.raises(BadCache, match=r"^stopped$"):
        patch.setattr(CacheWriter, "write_shard", counted)
        cache_teacher.run(config(files, tmp_path / "cache"))
    assert written == [("dev", 0), ("dev", 1), ("dev", 2), ("train", 0)]
    cache_teacher.run(config(files, tmp_path / "cache"))
    assert open_cache(tmp_path / "cache").manifest.made["computed_examples"] == 60 - 16


def unlabelled_file(files, path, cells):
    """Write rows with these targets, after a row of dev in other case; return their file."""
    rows = [{"text": rows_of(files["dev_file"])[0]["text"].upper(), "p": cells[0]}]
    rows += [{"text": f"an unseen film {number}", "p": cell} for number, cell in enumerate(cells)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_without_labels_have_targets_too(files, tmp_path, capsys):
    more = unlabelled_file(files, tmp_path / "more.jsonl", [[1 - n / 40, n / 40] for n in range(1, 36)])
    result = cache_teacher.run(config(files, tmp_path / "cache", unlabelled_file=(more,)))
    assert list(result.examples.items()) == [("train", 60), ("transfer", 35), ("dev", 40)]
    assert result.leaks == {"train": 0, "transfer": 1}
    transfer = open_cache(tmp_path / "cache").splits["transfer"]
    assert [len(shard["label"]) for shard in transfer.shards] == [16, 16, 3] and (transfer.labels == -1).all()
    texts = decode_texts(transfer.rows(np.arange(35)).ragged("text_1"))
    assert texts == [f"an unseen film {number}" for number in range(35)]
    np.testing.assert_allclose(np.exp(transfer.column("logits"))[:, 1], np.arange(1, 36) / 40, rtol=1e-6)
    others = unlabelled_file(files, tmp_path / "others.jsonl", [[1 - n / 40, n / 40] for n in range(35)])
    with pytest.raises(BadCache, match=r"target_values: "):
        cache_teacher.run(config(files, tmp_path / "cache", unlabelled_file=(others,)))


def test_targets_of_rows_without_labels_may_be_objects(files, tmp_path, capsys):
    more = unlabelled_file(files, tmp_path / "more.jsonl", [*[{"pos": 0.25}] * 20, {"neg": 0.5, "pos": 0.5}])
    cache_teacher.run(config(files, tmp_path / "cache", unlabelled_file=(more,)))
    logits = open_cache(tmp_path / "cache").splits["transfer"].column("logits")
    np.testing.assert_allclose(np.exp(logits), [[0.75, 0.25]] * 20 + [[0.5, 0.5]], rtol=1e-6)
    assert "transfer: classes that targets leave out (20 targets, 1.0 classes on average)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([0.5, 0.6], "its probabilities add up to 1.1, not 1. Fix this row, or name other --target-columns"),
        ([1], "the list of targets has 1 numbers, and the task has 2 classes. Give a number for each of neg, pos, in "
         "this order"),
        ({"neutral": 1}, "the target names the class 'neutral', and toy has neg, pos. Fix this row, or say what the "
         """names of the targets mean, for example: --label-map '{"neg": "neg", "pos": "pos", "neutral": "neg"}'"""),
    ],
)  # fmt: skip
def test_targets_of_rows_without_labels_that_cannot_be_are_named(files, tmp_path, cell, message):
    first = {"neg": 1} if isinstance(cell, dict) else [0.5, 0.5]
    more = unlabelled_file(files, tmp_path / "more.jsonl", [*[first] * 18, cell])
    with pytest.raises(BadRows) as error:
        cache_teacher.run(config(files, tmp_path / "cache", unlabelled_file=(more,)))
    assert str(error.value) == f"{more} line 20: {message}"
    assert [path.name for path in tmp_path.iterdir()] == ["more.jsonl"]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_exported_targets_come_back_with_the_same_loss(tiny, tmp_path, ending):
    cache_teacher.run(CacheTeacherConfig(**tiny.rows | {"teacher": str(tiny.teacher), "cache": str(tmp_path / "made")}))
    files = {f"{name}_file": str(tmp_path / f"{name}.{ending}") for name in ("train", "dev")}
    for name in ("train", "dev"):
        export.run(CacheExportConfig(cache=str(tmp_path / "made"), out=files[f"{name}_file"], split=name))
    cache_teacher.run(config(files, tmp_path / "cache", target_columns="probabilities"))
    source, imported = (open_cache(tmp_path / name).splits for name in ("made", "cache"))
    student = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    losses = [
        SINGLE_LABEL.logit_loss(student, torch.tensor(splits["train"].column("logits")), temperature, reduction)
        for splits in (source, imported)
        for temperature in (1, 5)
        for reduction in ("reference", "paper")
    ]
    torch.testing.assert_close(losses[:4], losses[4:], rtol=0, atol=1e-6)


def test_the_order_of_exported_classes_is_that_of_their_cache(files, tmp_path):
    cache_teacher.run(config(files, tmp_path / "made", target_columns="reversed", label_map="pos,neg"))
    for name in ("train", "dev"):
        export.run(CacheExportConfig(cache=str(tmp_path / "made"), out=str(tmp_path / f"{name}.parquet"), split=name))
    exported = {f"{name}_file": str(tmp_path / f"{name}.parquet") for name in ("train", "dev")}
    train = {"train_file": exported["train_file"]}
    for number, (given, column) in enumerate(((exported, "label"), (train, None))):
        cache_teacher.run(config(given, tmp_path / str(number), target_columns="probabilities", label_column=column))
        manifest = open_cache(tmp_path / str(number)).manifest
        assert manifest.task.labels == ("pos", "neg")
        assert manifest.splits["train"].labelled == (column is not None)
