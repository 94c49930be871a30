"""Evaluation of a teacher's run on the rows of its task: the same rows, and the model's numbers of its classes."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.cache.open import open_cache
from pipeline.config.training import EvaluateConfig
from pipeline.errors import BadCache, BadRows
from stages import evaluate


@pytest.fixture
def run(tiny, tmp_path):
    """A finished teacher whose rows are copies in its own directory."""
    out = shutil.copytree(tiny.teacher, tmp_path / "teacher")
    record = json.loads((out / "run.json").read_text())
    for split in ("train", "dev", "test"):
        record["rows"][f"{split}_file"] = str(shutil.copy(tiny.rows[f"{split}_file"], tmp_path))
    (out / "run.json").write_text(json.dumps(record))
    return out


def edited(run: Path, split: str, change) -> Path:
    path = run.parent / f"{split}.csv"
    path.write_text(change(path.read_text()))
    return path


def measured(run: Path, **options) -> float:
    result = evaluate.run(EvaluateConfig(run=str(run), precision="float32", **options))
    return asdict(result)["metrics"]["dev"]["accuracy"]


def test_a_new_class_in_the_training_rows_does_not_renumber_the_model(tiny, run, capsys):
    before = measured(run)
    train = edited(run, "train", lambda text: text.replace("text,label\n", "text,label\na film,aaa\n"))
    assert measured(run) == before
    fact = f"{train}: the rows or labels of train are not those that {run} was trained with"
    assert f"warning: {fact}\n" in capsys.readouterr().err


def test_dev_rows_that_changed_are_named_and_can_be_allowed(run, capsys):
    dev = edited(run, "dev", lambda text: "\n".join(text.splitlines()[:-5]) + "\n")
    fact = f"{dev}: the rows or labels of dev are not those that {run} was trained with"
    with pytest.raises(BadRows) as error:
        measured(run)
    assert str(error.value) == f"{fact}. Restore them, or measure these with --allow-changed-rows"
    assert measured(run, allow_changed_rows=True) > 0
    assert f"warning: {fact}\n" in capsys.readouterr().err


def test_renamed_classes_are_named(run):
    for split in ("train", "dev"):
        edited(run, split, lambda text: text.replace(",pos\n", ",good\n"))
    with pytest.raises(
        BadRows, match=r"dev.csv line \d+: the label 'good' is none of neg, pos; \d+ rows are like this"
    ):
        measured(run)


def test_a_cache_with_its_classes_in_another_order_is_refused(tiny, run):
    cache = open_cache(tiny.arrow)
    other = replace(cache, manifest=replace(cache.manifest, task=replace(cache.manifest.task, labels=("pos", "neg"))))
    with pytest.raises(BadCache) as error:
        evaluate._check_cache(other, {"config": {}}, None, ("neg", "pos"))
    assert str(error.value) == (
        f"{cache.location} has the classes pos, neg, and this run neg, pos, in this order. Name another --cache"
    )
