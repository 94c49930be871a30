"""Runs that predict alone: the logits of their training's end, whatever the kind of task, without rows or cache."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_weights
from safetensors.torch import save_file

from pipeline.config.training import TrainStudentConfig
from pipeline.data.kinds.multiple_choice import choice_names
from pipeline.data.rows.choices import unanswered_rows
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.errors import BadCache, BadOption, BadRun
from pipeline.inference.predictor import load_predictor
from stages import train_student
from tests.helpers.bare_runs import bare_run
from tests.helpers.encoders import tokenizer
from tests.helpers.own_tokenizer import save_foreign_encoder
from tests.helpers.paths import ROOT

VERSION_0_1 = ROOT / "tests" / "fixtures" / "version-0.1"
SHORT = dict(max_steps=4, precision="float32", student_layers=2)


def texts_of(file: str) -> list[str]:
    return [line.rpartition(",")[0] for line in Path(file).read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def student(tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("student") / "run"
    train_student.run(TrainStudentConfig(cache=str(tiny.arrow), out=str(out), **SHORT))
    return out


def test_run_json_records_texts_labels_kind_and_length(tiny, student):
    expected = {"task": "toy", "kind": "single-label", "labels": ["neg", "pos"], "text_columns": ["text"]}
    for run in (student, tiny.teacher):
        record = json.loads((run / "run.json").read_text())
        assert {name: record[name] for name in expected} == expected and record["max_length"] == 128


def test_student_and_teacher_repeat_their_stored_predictions_without_cache_and_rows(tiny, student, tmp_path):
    for run in (student, tiny.teacher):
        alone = shutil.copytree(run, tmp_path / run.name)
        record = json.loads((alone / "run.json").read_text())
        (alone / "run.json").write_text(json.dumps(record | {"cache": "gone", "rows": {}}))
        for place in (alone, alone / "model"):
            predictor = load_predictor(place)
            logits = predictor.logits(predictor.rows(texts_of(tiny.rows["dev_file"])))
            assert predictor.precision == "float32" and predictor.labels == ("neg", "pos")
            assert np.array_equal(logits, load_file(run / "predictions.safetensors")["dev"])


def test_model_directory_is_known_from_inside(tiny, monkeypatch):
    monkeypatch.chdir(tiny.teacher / "model")
    assert load_predictor(".").record.task == "toy"


def test_student_with_its_own_tokenizer_repeats_its_predictions(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PKD_STORE", str(tmp_path / "store"))
    foreign = save_foreign_encoder(tmp_path / "foreign")
    config = TrainStudentConfig(cache=str(tiny.arrow), init=str(foreign), out=str(tmp_path / "run"), **SHORT)
    train_student.run(config)
    predictor = load_predictor(tmp_path / "run")
    assert predictor.max_length == 64
    logits = predictor.logits(predictor.rows(texts_of(tiny.rows["dev_file"])))
    assert np.array_equal(logits, load_file(tmp_path / "run" / "predictions.safetensors")["dev"])


def test_batch_size_does_not_change_more_than_rounding(student):
    predictor = load_predictor(student)
    rows = predictor.rows(["a film", "the good book was fine", "so so", "dull"] * 5)
    assert np.allclose(predictor.logits(rows, 1), predictor.logits(rows, 7), atol=1e-5)


def test_regression_predicts_in_units_of_the_rows(tmp_path):
    settings = {"label_mean": 70.0, "label_std": 8.0}
    predictor = load_predictor(bare_run(tmp_path / "run", SCALED_REGRESSION, (), settings))
    logits = predictor.logits(predictor.rows(["a film", "a good book"]))
    assert predictor.kind.predictions(logits) == pytest.approx(70 + 8 * logits[:, 0].astype(float))


def test_multi_label_has_the_threshold_of_the_model(tmp_path):
    run = bare_run(tmp_path / "run", MULTI_LABEL, ("a", "b", "c"), {"label_threshold": 0.25})
    predictor = load_predictor(run)
    assert predictor.kind.settings == {"label_threshold": 0.25} and predictor.num_logits == 3


def test_pairs_and_questions_are_read_as_in_training(tmp_path):
    pairs = bare_run(tmp_path / "pairs", SINGLE_LABEL, ("no", "yes"), text_columns=["q", "a"])
    predictor = load_predictor(pairs)
    split = predictor.split(predictor.rows(["a film"], ["the book"]))
    assert split.shards[0]["token_type_ids"].values.tolist() == [0, 0, 0, 0, 1, 1, 1]
    quiz = bare_run(
        tmp_path / "quiz", MULTIPLE_CHOICE, choice_names(3), text_columns=["text", "q"], choices_columns=["options"]
    )
    predictor = load_predictor(quiz)
    raw = RawSplit(
        texts=(["a film"], ["so"]), labels=[None], numbers=[2], places=[("f", 0)], choices=[(["good", "bad", "dull"],)]
    )
    assert predictor.logits(unanswered_rows(raw, "own", 3)).shape == (1, 3)
    assert predictor.choices_columns == ("options",)


def test_safetensors_export_predicts_as_its_run(student, tmp_path):
    export = shutil.copytree(student / "model", tmp_path / "export")
    record = json.loads((student / "run.json").read_text())
    fields = {name: record[name] for name in ("task", "kind", "labels", "text_columns", "max_length")}
    (export / "export.json").write_text(json.dumps({"format": "safetensors", **fields}))
    rows = load_predictor(student).rows(["a good film", "dull"])
    assert np.array_equal(
        load_predictor(export, precision="float32").logits(rows), load_predictor(student).logits(rows)
    )
    (export / "export.json").write_text(json.dumps({"format": "pickle", **fields}))
    with pytest.raises(BadRun) as error:
        load_predictor(export)
    assert str(error.value) == f"{export}/export.json is damaged (format is 'pickle'). Export the run again"


def test_onnx_export_predicts_as_its_model(exported, tmp_path):
    fields = {"task": "own", "kind": "single-label", "labels": ["a", "b", "c"], "text_columns": ["text"]}
    config = exported.model.config
    config.id2label, config.label2id = dict(enumerate("abc")), {name: place for place, name in enumerate("abc")}
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "export.json").write_text(json.dumps({"format": "onnx", "quantize": None, "max_length": 64, **fields}))
    with pytest.raises(BadRun, match=r"model.onnx is damaged \(it is missing\). Export the run again"):
        load_predictor(tmp_path)
    shutil.copy(exported.path, tmp_path)
    predictor = load_predictor(tmp_path)
    rows = predictor.rows(["a good film", "so", "the plot of the book"])
    batch = predictor.tokenizer(rows.texts[0], padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = exported.model(**batch).logits.numpy()
    assert np.allclose(predictor.logits(rows), expected, atol=1e-4)
    assert (predictor.precision, predictor.device, predictor.model) == ("float32", "cpu", None)
    with pytest.raises(BadOption, match="computes as it was written"):
        load_predictor(tmp_path, precision="bfloat16")


def test_run_of_version_0_1_reads_its_cache_or_is_given_what_is_missing(tmp_path):
    run, cache = VERSION_0_1 / "finished-run", VERSION_0_1 / "cache"
    with pytest.raises(BadOption) as error:
        load_predictor(run)
    assert str(error.value) == (
        f"{run}/run.json does not say how its rows were read, and its cache, data/toy, is not here. Name its present "
        "place with --cache, or give --text-columns and --max-length"
    )
    given = load_predictor(run, text_columns=("text",), max_length=32, precision="float32")
    assert given.kind == SINGLE_LABEL
    read = load_predictor(run, text_columns=("text",), cache=str(cache), precision="float32")
    assert (read.record.task, read.record.labels) == ("toy", given.labels)


def test_cache_of_another_run_is_refused(tiny):
    run = VERSION_0_1 / "finished-run"
    with pytest.raises(BadCache, match=r"is not the cache of this run .*Name the right one with --cache"):
        load_predictor(run, cache=str(tiny.arrow))


def test_teacher_of_an_earlier_version_is_read_from_its_rows(tiny, tmp_path):
    run = shutil.copytree(tiny.teacher, tmp_path / "teacher")
    record = json.loads((run / "run.json").read_text())
    for name in ("task", "kind", "labels", "text_columns", "max_length"):
        del record[name]
    (run / "run.json").write_text(json.dumps(record))
    assert load_predictor(run).record == load_predictor(tiny.teacher).record


def test_places_that_are_not_finished_runs_are_refused(tmp_path):
    missing, empty, unfinished = (tmp_path / name for name in ("missing", "empty", "unfinished"))
    empty.mkdir()
    (unfinished / "model").mkdir(parents=True)
    (unfinished / "started.json").write_text("{}")
    facts = {
        missing: "there is no such directory. Name a finished run, or what the command export wrote",
        empty: "is not a run or an export (no run.json, no export.json). Pass the --out directory of "
        "finetune-teacher, train-student or export",
        unfinished: "is unfinished: run its command again with --resume",
    }
    for place, fact in facts.items():
        with pytest.raises(BadRun) as error:
            load_predictor(place)
        assert str(error.value).replace(":", "").endswith(f"{place} {fact}".replace(":", ""))
    with pytest.raises(BadRun, match="unfinished is unfinished"):
        load_predictor(unfinished / "model")


@pytest.mark.parametrize(
    "change, fact",
    [
        ({"labels": ["a"]}, "1 labels, 1 of them different"),
        ({"labels": ["b", "a"]}, "its labels are b, a, and those of the model a, b"),
        ({"labels": ["a", 3]}, "labels is ['a', 3]"),
        ({"kind": "none"}, "kind is 'none'"),
        ({"text_columns": "text"}, "text_columns is 'text'"),
        ({"max_length": True}, "max_length is True"),
    ],
)
def test_record_that_cannot_be_is_named(tmp_path, change, fact):
    run = bare_run(tmp_path / "run", SINGLE_LABEL, ("a", "b"))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | change))
    with pytest.raises(BadRun) as error:
        load_predictor(run)
    assert str(error.value) == f"{run}/run.json is damaged ({fact}). Train the run again"


def test_configuration_that_asks_for_code_is_not_loaded(tmp_path):
    run = bare_run(tmp_path / "run", SINGLE_LABEL, ("a", "b"))
    file = run / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(BadRun, match="asks for code of its own"):
        load_predictor(run)


def test_options_that_do_not_fit_the_run_are_refused(student):
    with pytest.raises(BadOption, match=r"reads one text per row \(text\)\. Name as many"):
        load_predictor(student, text_columns=("a", "b"))
    with pytest.raises(BadOption, match="--choices-columns is for questions with choices"):
        load_predictor(student, choices_columns=("a", "b"))
    with pytest.raises(BadOption, match=r"this model takes 128 tokens at most\. Try --max-length 128"):
        load_predictor(student, max_length=512)


def test_changed_weights_change_predictions(tmp_path):
    run = bare_run(tmp_path / "run", SINGLE_LABEL, ("a", "b"))
    before = load_predictor(run)
    weights = load_weights(run / "model" / "model.safetensors")
    weights["classifier.bias"] = torch.tensor([5.0, 0.0])
    save_file(weights, run / "model" / "model.safetensors", metadata={"format": "pt"})
    rows = before.rows(["a film"])
    assert (load_predictor(run).logits(rows) - before.logits(rows))[0].tolist() == pytest.approx([5, 0], abs=1e-5)
