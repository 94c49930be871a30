"""Multi-label rows, scores and rare classes from files to a student, by the command line."""

import json
import random
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from pipeline.cache.open import open_cache
from pipeline.training.run_reader import read_predictions, read_run
from tests.helpers.paths import ROOT
from tests.helpers.repeated import repeated
from tests.helpers.rows import WORDS
from tests.helpers.sealing import write_sealed

TOPICS = ("film", "book", "plot")  # a row's classes: those of these words that it contains


def sentences(count, seed):
    draw = random.Random(seed)
    return [draw.choices(WORDS, k=draw.randint(3, 12)) for _ in range(count)]


def write_jsonl(path, count, seed, label):
    rows = [json.dumps({"text": " ".join(words), "label": label(words)}) + "\n" for words in sentences(count, seed)]
    path.write_text("".join(rows))
    return path


def topics(words):
    return [topic for topic in TOPICS if topic in words]


def call_all(call, *commands):
    results = [call(*command) for command in commands]
    for result in results:
        assert result.code == 0, result.error
    return results


def read_by_the_docs(cache, monkeypatch):
    """The labels of a cache's last split, as the reader of docs/cache-format.md has them."""
    (reader,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "cache-format.md").read_text(), re.DOTALL)
    monkeypatch.setattr("sys.argv", ["reader.py", str(cache)])
    exec(reader, variables := {})
    return variables["labels"]


FLOAT32 = "--precision=float32"
SHORT = (FLOAT32, "--max-steps=3", "--batch-size=16", "--student-layers=2")


def options(files, *more):
    names = ("task", "train-file", "dev-file", "test-file")
    return [
        *(f"--{name}={value}" for name, value in zip(names, files, strict=True)),
        *("--text-columns=text", "--label-column=label", FLOAT32, *more),
    ]


@pytest.fixture(scope="module")
def several(tiny, tmp_path_factory):
    """A multi-label teacher and its cache, from rows with lists of labels; the test file has no labels."""
    root = tmp_path_factory.mktemp("several")
    train = write_jsonl(root / "train.jsonl", 240, 1, topics)
    dev = write_jsonl(root / "dev.jsonl", 60, 2, topics)
    test = root / "test.csv"
    test.write_text("\n".join(["text", *(" ".join(words) for words in sentences(10, 3))]) + "\n")
    return SimpleNamespace(root=root, rows=options(("topics", train, dev, test)))


@pytest.fixture(scope="module")
def made(tiny, several):
    from click.testing import CliRunner

    from cli import main

    teacher, cache = several.root / "teacher", several.root / "cache"
    training = ("--model", tiny.encoder, "--epochs=6", "--lr=5e-3", "--class-weights=balanced", "--out", teacher)
    for command in (
        ("finetune-teacher", *several.rows, *training),
        ("cache-teacher", *several.rows, "--teacher", teacher, "--cache", cache, "--shard-rows=100"),
    ):
        done = CliRunner().invoke(main, [str(word) for word in command])
        assert done.exit_code == 0, done.stderr
    return SimpleNamespace(teacher=teacher, cache=cache, rows=several.rows)


def test_multi_label_cache_has_a_column_of_labels(made, monkeypatch):
    cache = open_cache(made.cache)
    labels = read_by_the_docs(made.cache, monkeypatch)
    assert labels.dtype == np.int8 and (labels == cache.splits["test"].labels).all()
    task, splits = cache.manifest.task, cache.splits
    assert task.labels == tuple(sorted(TOPICS)) and task.metrics[0] == "micro_f1"
    expected = [[topic in words for topic in sorted(TOPICS)] for words in sentences(60, 2)]
    assert (splits["dev"].labels == np.array(expected)).all() and splits["dev"].labels.dtype == np.int8
    assert (splits["dev"].labels.sum(1) == 0).any()  # rows without a label are rows
    assert not splits["test"].labelled and (splits["test"].labels == -1).all()
    model = AutoModelForSequenceClassification.from_pretrained(made.teacher / "model")
    assert model.config.problem_type == "multi_label_classification"
    assert task.settings == {"label_threshold": model.config.label_threshold}
    assert cache.manifest.teacher_metrics["dev"] == pytest.approx(read_run(made.teacher)["result"]["metrics"]["dev"])
    assert cache.manifest.teacher_metrics["dev"]["micro_f1"] > 0.6


@pytest.mark.parametrize("method", ["ft", "kd", "pkd-skip"])
def test_multi_label_student_keeps_the_threshold_of_its_own_logits(call, made, tmp_path, method):
    student = ("train-student", "--cache", made.cache, "--method", method, "--out", tmp_path / "run", *SHORT)
    trained, again = call_all(call, student, ("evaluate", tmp_path / "run", FLOAT32))
    measured = repeated(again.json["metrics"], trained.json["metrics"])
    assert measured["dev"] == pytest.approx(trained.json["metrics"]["dev"])
    assert again.json["agreement"] == pytest.approx(trained.json["agreement"])
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
    assert model.config.problem_type == "multi_label_classification" and model.num_labels == 3
    probabilities = torch.sigmoid(torch.tensor(read_predictions(tmp_path / "run")["dev"])).numpy()
    predicted, labels = probabilities >= model.config.label_threshold, open_cache(made.cache).splits["dev"].labels == 1
    micro_f1 = 2 * (predicted & labels).sum() / (predicted.sum() + labels.sum())
    assert trained.json["metrics"]["dev"]["micro_f1"] == pytest.approx(micro_f1)
    assert trained.json["metrics"]["dev"] == read_run(tmp_path / "run")["best"]["metrics"]


def test_multi_label_cache_in_both_containers(call, made, tmp_path):
    copy = tmp_path / "hdf5"
    call_all(
        call,
        ("cache", "convert", made.cache, copy, "--format=hdf5"),
        ("cache", "verify", copy, "--sample=10"),
        ("cache", "diff", made.cache, copy),
    )
    info = call("cache", "info", copy, "--probe-examples=100")
    assert info.code == 0 and "Warning" not in info.stderr
    assert "task          topics, any of book, film, plot" in info.stdout
    assert info.json["probes"]["metric"] == "micro_f1" and info.json["probes"]["majority"] > 0


def test_packed_multi_label_students_are_judged_by_the_metric_of_the_space(call, made, in_directory):
    (in_directory / "space.toml").write_text(
        'method = ["ft", "kd"]\nmetric = "macro_f1"\nclass_weights = "balanced"\nstudent_layers = 2\nmax_steps = 3\n'
        'precision = "float32"\n'
    )
    sweep = call("sweep", "--cache", made.cache, "--space", "space.toml", "--out", "found", "--pack", 2)
    assert sweep.code == 0, sweep.error
    assert json.loads((in_directory / "found" / "sweep.json").read_text())["metric"] == "macro_f1"
    assert next(iter(sweep.json["best"]["metrics"]["dev"])) == "macro_f1"
    (in_directory / "space.toml").write_text('metric = ["macro_f1", "accuracy"]\nstudent_layers = 2\n')
    refused = call("sweep", "--cache", made.cache, "--space", "space.toml", "--out", "other")
    assert refused.code == 2 and refused.error.startswith(
        "Error: trials are compared by one metric, and these by macro_f1 and accuracy. Write one metric into the space"
    )


def test_multi_label_teacher_is_refused_for_other_kinds(call, tiny, made, tmp_path):
    refused = call("cache-teacher", *words_of(tiny.rows), "--teacher", made.teacher, "--cache", tmp_path / "cache")
    assert refused.code == 2 and refused.error == (
        f"Error: {made.teacher}/model was trained for multi_label_classification, but the task toy is "
        "single_label_classification. Name another --teacher, or fine-tune one with finetune-teacher"
    )
    refused = call("cache-teacher", *made.rows, "--teacher", tiny.teacher, "--cache", tmp_path / "cache")
    assert refused.code == 2 and "was trained for single_label_classification, but the task topics" in refused.error
    assert not (tmp_path / "cache").exists()


def words_of(rows):
    return [f"--{name.replace('_', '-')}={value}" for name, value in rows.items()]


def test_scores_are_standardised_inside_and_given_back(call, tiny, in_directory, monkeypatch):
    def score(words):
        return 1e6 + 5e4 * (words.count("good") - words.count("bad")) + len(words)

    files = [
        write_jsonl(in_directory / f"{name}.jsonl", count, count, score) for name, count in (("a", 200), ("b", 50))
    ]
    rows = [word for word in options(("stars", *files, ""), "--regression") if word != "--test-file="]
    student = ("--cache=data/stars", "--method=pkd-skip", "--out=student", *SHORT)
    teacher, cached, trained, measured, _ = call_all(
        call,
        ("finetune-teacher", *rows, "--model", tiny.encoder, "--epochs=6", "--lr=5e-3"),
        ("cache-teacher", *rows, "--allow-weak-teacher"),
        ("train-student", *student),
        ("evaluate", "student", FLOAT32),
        ("cache", "verify", "data/stars", "--sample=5"),
    )
    again = repeated(measured.json["metrics"], trained.json["metrics"])
    assert again["dev"] == pytest.approx(trained.json["metrics"]["dev"])
    assert cached.json["teacher_metrics"]["dev"] == pytest.approx(teacher.json["metrics"]["dev"], rel=1e-4)
    labels = np.array([score(words) for words in sentences(200, 200)])
    cache = open_cache("data/stars")
    assert (cache.splits["train"].labels == labels).all()
    assert (read_by_the_docs("data/stars", monkeypatch)[:, 0] == cache.splits["dev"].labels).all()
    for run in ("runs/stars/teacher", "student"):
        model = AutoModelForSequenceClassification.from_pretrained(f"{run}/model")
        assert (model.config.label_mean, model.config.label_std) == pytest.approx((labels.mean(), labels.std()))
        assert model.config.problem_type == "regression" and model.num_labels == 1
    predicted = read_predictions(in_directory / "runs/stars/teacher")["dev"][:, 0]
    assert predicted.mean() == pytest.approx(labels.mean(), rel=0.05) and predicted.std() > 1e3
    assert teacher.json["metrics"]["dev"]["pearson"] > 0.5
    assert np.corrcoef(predicted, cache.splits["dev"].labels)[0, 1] == pytest.approx(
        teacher.json["metrics"]["dev"]["pearson"], abs=1e-6
    )
    losses = [json.loads(line)["ce"] for line in (in_directory / "student/log.jsonl").open() if '"train"' in line]
    assert max(losses) < 5  # of standardised scores


def test_useful_teacher_of_a_rare_class_is_cached_and_judges_by_its_metric(call, tiny, in_directory):
    """Labels of rare rows are noisy: with weights the teacher finds them, at the price of accuracy."""
    draw = random.Random(0)

    def label(words):
        return "rare" if "plot" in words and "book" in words and draw.random() < 0.6 else "common"

    files = [
        write_jsonl(in_directory / f"{name}.jsonl", count, count, label) for name, count in (("a", 300), ("b", 150))
    ]
    rows = [word for word in options(("rare", *files, ""), "--metric=f1:rare") if word != "--test-file="]
    training = ("--model", tiny.encoder, "--epochs=6", "--lr=5e-3", "--class-weights=balanced")
    call_all(call, ("finetune-teacher", *rows, *training))
    without = [word for word in rows if not word.startswith("--metric")]
    [cached] = call_all(call, ("cache-teacher", *without))  # the metric is that of the teacher's run
    assert next(iter(cached.json["teacher_metrics"]["dev"])) == "f1:rare"
    other = call("cache-teacher", *without, "--metric=macro_f1")
    assert other.code == 2 and other.error == (
        "Error: data/rare is this cache, complete, and judged by f1:rare. Give --metric macro_f1 to train-student, or "
        "choose another --cache"
    )
    student = ("train-student", "--cache=data/rare", "--metric=macro_f1", "--class-weights=balanced", "--out=s", *SHORT)
    trained, measured = call_all(call, student, ("evaluate", "s"))
    assert [*trained.json["metrics"]["dev"]][:2] == ["macro_f1", "f1:rare"] == [*measured.json["metrics"]["dev"]][:2]
    assert {key: read_run(in_directory / "s")["config"][key] for key in ("metric", "class_weights")} == {
        "metric": "macro_f1",
        "class_weights": "balanced",
    }


def test_options_that_do_not_fit_the_kind(call, tiny, made, in_directory):
    write_jsonl(in_directory / "same.jsonl", 20, 1, lambda _words: 3.5)
    same = options(("same", "same.jsonl", "same.jsonl", "same.jsonl"), "--regression", f"--model={tiny.encoder}")
    own = [*words_of(tiny.rows), f"--model={tiny.encoder}"]
    cases = {
        "same.jsonl: every score is 3.5, so there is nothing to learn. Name another --label-column": same,
        "--metric: pearson does not fit a single-label task. Use one of accuracy, matthews_correlation, f1, macro_f1, "
        "micro_f1, average_precision, f1:CLASS, average_precision:CLASS": [*own, "--metric=pearson"],
        "--label-separator is empty. Give what is between two labels of a row, for example ','": [
            *own,
            "--label-separator=",
        ],
        "--regression is for one score per row, and --label-separator is for several. Leave one of them out": [
            *own,
            "--regression",
            "--label-separator=,",
        ],
        "--class-weights balanced weighs classes, and a regression task does not have any. Leave it out": [
            *options(("x", "scores.jsonl", "scores.jsonl", "scores.jsonl"), "--regression", f"--model={tiny.encoder}"),
            "--class-weights=balanced",
        ],
    }
    write_jsonl(in_directory / "scores.jsonl", 20, 1, len)
    for text, words in cases.items():
        refused = call("finetune-teacher", *words)
        assert (refused.code, refused.error) == (2, f"Error: {text}")


@pytest.mark.parametrize(
    "settings", [None, {}, {"label_threshold": 1.5}, {"label_threshold": "0.5"}, {"label_threshold": 0.5, "x": 1}]
)
def test_manifest_with_settings_that_cannot_be_is_refused(call, made, tmp_path, settings):
    cache = shutil.copytree(made.cache, tmp_path / "cache")
    value = json.loads((cache / "manifest.json").read_text())
    del value["task"]["settings"]
    if settings is not None:
        value["task"]["settings"] = settings
    write_sealed(cache, value)
    refused = call("train-student", "--cache", cache, "--out", tmp_path / "run")
    assert refused.code == 2 and f"{cache}/manifest.json is damaged (ValueError: " in refused.error
