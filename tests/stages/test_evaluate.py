"""Evaluation of a teacher's run on the rows of its task: the same rows, and the model's numbers of its classes."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.cache.open import open_cache
from pipeline.config.evaluation import EvaluateConfig
from pipeline.errors import BadCache, BadOption, BadRows, BadRun
from pipeline.training import measured_run
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
        measured_run._check_cache(other, {"config": {}}, None, ("neg", "pos"))
    assert str(error.value) == (
        f"{cache.location} has the classes pos, neg, and this run neg, pos, in this order. Name another --cache"
    )


def on_cache(run: Path, cache: Path) -> Path:
    """Return a copy of a teacher's run that is measured on a cache."""
    out = shutil.copytree(run, run.parent / "on-cache")
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(record | {"cache": str(cache)}))
    return out


def test_runs_are_compared_on_the_same_rows_wherever_these_are(tiny, run, call):
    cached = on_cache(run, tiny.arrow)
    result = call("evaluate", run, cached)
    assert result.code == 0, result.stderr
    assert [each["run"] for each in result.json["runs"]] == [str(run), str(cached)]
    assert result.json["out"] == str(run) and result.json["metrics"] == result.json["runs"][0]["metrics"]
    assert result.json["agreement"] == {} and result.json["runs"][1]["agreement"] == {"dev": 1.0}
    assert result.json["runs"][1]["kl"]["dev"] == pytest.approx(0, abs=1e-6)
    assert result.json["paired"] == [
        {
            **{"run": str(cached), "against": str(run), "split": "dev", "metric": "accuracy"},
            **{"difference": 0.0, "interval": [0.0, 0.0]},
            **{"mcnemar_p": 1.0, "only_run_right": 0, "only_against_right": 0},
        }
    ]
    low, high = result.json["intervals"]["dev"]["accuracy"]
    assert low <= result.json["metrics"]["dev"]["accuracy"] <= high
    assert set(result.json["per_class"]["dev"]) == {"neg", "pos"}
    assert sum(part["examples"] for part in result.json["calibration"]["dev"]["bins"]) == 90
    assert "McNemar p" in result.stdout and result.json["resamples"] == 1000


def test_runs_on_other_rows_are_not_compared(tiny, run):
    cached = on_cache(run, tiny.arrow)
    edited(run, "dev", lambda text: text.replace("\n", "\nanother text,pos\n", 1))
    with pytest.raises(BadRun) as error:
        evaluate.run(EvaluateConfig(run=(str(cached), str(run)), allow_changed_rows=True))
    assert str(error.value) == (
        f"{run} cannot be compared with {cached}: they are measured on other rows of dev. Evaluate it alone, or name "
        "the same rows for both"
    )


def test_a_run_is_named_once(run):
    with pytest.raises(BadOption, match="is named twice"):
        evaluate.run(EvaluateConfig(run=(str(run), str(run))))


@pytest.mark.parametrize(("trained", "asked", "used"), [("float32", "auto", "float32"), ("x", "bfloat16", "bfloat16")])
def test_precision_follows_the_training(trained, asked, used):
    config = EvaluateConfig(run="r", precision=asked)
    assert measured_run._precision(config, {"config": {"precision": trained}}) == used


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("words,sentiment", *lines)) + "\n")
    return path


def test_other_rows_are_measured_and_those_without_a_label_counted(tiny, run, call):
    file = write_csv(run.parent / "new.csv", '"a good film",pos', "a bad plot,neg", "a film,", "a book,n/a")
    words = ("--file", file, "--text-columns", "words", "--label-column", "sentiment")
    result = call("evaluate", run, on_cache(run, tiny.arrow), *words)
    assert result.code == 0, result.stderr
    assert result.json["examples"] == {"file": 2} and set(result.json["metrics"]) == {"file"}
    assert f"{file}: 2 of 4 rows do not have a label and are left out" in result.stderr
    assert result.json["paired"][0]["difference"] == 0


def test_rows_that_cannot_be_measured_are_named(run, call):
    unknown = write_csv(run.parent / "unknown.csv", "a good film,Pos", "a film,great")
    without = write_csv(run.parent / "without.csv", "a good film,")
    columns = ("--text-columns", "words", "--label-column", "sentiment")
    cases = {
        ("--file", unknown, *columns): f"{unknown} line 2: the label 'Pos' is none of neg, pos, and neither are "
        "'great' (1). ",
        ("--file", without, *columns): f"{without}: no row has a label in sentiment. Name another --label-column",
        ("--file", without): f"{without}: has no column 'text'; its columns are words, sentiment. ",
        ("--text-columns", "words"): "--text-columns belongs to the rows of --file. Name a file, or leave it out",
        ("--file", without, "--task", "rte"): "--file and --task are different rows. Name one of them",
        ("--file", without, "--split", "test"): "the rows of --file are one split. Leave --split out",
        ("--task", "movie-reviews"): f"{run} has the classes neg, pos, and movie-reviews has negative, positive. ",
    }
    for words, text in cases.items():
        result = call("evaluate", run, *words)
        assert result.code == 2 and result.error.startswith(f"Error: {text}"), result.error
    renamed = call("evaluate", run, "--file", unknown, *columns, "--rename-labels", '{"Pos": "pos", "great": null}')
    assert renamed.code == 0 and renamed.json["examples"] == {"file": 1}
