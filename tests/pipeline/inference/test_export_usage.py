"""The lines of a card are run as they stand, for each kind of task, and print what the model predicts."""

import ast
import json
import shutil

import numpy as np
import pytest
import torch

from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.inference.export_usage import Usage
from pipeline.models.checkpoints import Head
from tests.helpers.encoders import tokenizer
from tests.pipeline.inference.conftest import build

LABELS = ("a", "it's", '"b"\n```')
TEXTS = {"text": ["a first text", "another text"], "pair": [["a first text", "the text beside it"]]}


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """Run lines in a directory with this model, and return what they print, one line each."""

    def run(usage: Usage, model, file=None) -> list[str]:
        model.save_pretrained(tmp_path)
        tokenizer().save_pretrained(tmp_path)
        if file:
            (tmp_path / "model.safetensors").unlink()
            shutil.copy(file, tmp_path / "model.onnx")
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        exec(compile(usage.lines("onnx" if file else "safetensors"), "README.md", "exec"), {})
        return capsys.readouterr().out.splitlines()

    return run


def expected(model, *texts) -> np.ndarray:
    batch = tokenizer()(*texts, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).logits.double().numpy()


def with_head(kind, labels: tuple[str, ...]) -> object:
    model = build("bert", len(labels) or 1)
    Head(len(labels) or 1, labels, kind.problem_type, kind.settings).configure(model.config)
    return model


@pytest.mark.parametrize("texts", [1, 2])
@pytest.mark.parametrize("format", ["safetensors", "onnx"])
def test_lines_of_single_label(printed, exported, format, texts):
    model = with_head(SINGLE_LABEL, LABELS)
    lines = printed(Usage(SINGLE_LABEL, LABELS, texts, 16), model, exported.path if format == "onnx" else None)
    logits = expected(model, TEXTS["text"]) if texts == 1 else expected(model, *([text] for text in TEXTS["pair"][0]))
    probabilities = SINGLE_LABEL.probabilities(logits)
    if format == "onnx":
        names = [LABELS[row.argmax()] for row in probabilities]
        assert "\n".join(lines).count(names[0]) and len(names) == len(logits)
        values = [
            float(line.rpartition(" ")[2]) for line in "\n".join(lines).replace('b"\n', 'b" ').splitlines() if line
        ]
    else:
        entries = ast.literal_eval(lines[0])
        assert [entry["label"] for entry in entries] == [LABELS[row.argmax()] for row in probabilities]
        values = [entry["score"] for entry in entries]
    assert np.allclose(values, probabilities.max(1), atol=1e-5)


@pytest.mark.parametrize("format", ["safetensors", "onnx"])
def test_lines_of_several_labels(printed, exported, format):
    labels = ("a", "b", "c")
    logits = expected(exported.model, TEXTS["text"])
    threshold = float(np.median(MULTI_LABEL.probabilities(logits)))
    kind = MULTI_LABEL.with_settings({"label_threshold": threshold - 1e-6})
    lines = printed(Usage(kind, labels, 1, 16), with_head(kind, labels), exported.path if format == "onnx" else None)
    rows = [[label for label, chosen in zip(labels, row, strict=True) if chosen] for row in kind.predictions(logits)]
    assert [sorted(ast.literal_eval(line)) for line in lines] == rows
    assert 0 < sum(map(len, rows)) < 6


def test_lines_of_scores(printed, exported):
    kind = SCALED_REGRESSION.with_settings({"label_mean": 3.5, "label_std": 2.0})
    model = with_head(kind, ())
    lines = printed(Usage(kind, (), 1, 16), model)
    assert np.allclose([*map(float, lines)], kind.predictions(expected(model, TEXTS["text"])), atol=1e-5)
    [line] = printed(Usage(kind, (), 1, 16), model, exported.path)  # of three outputs, the first
    assert np.allclose(
        json.loads(line.replace(" ", ",").replace("[,", "[")),
        kind.predictions(expected(exported.model, TEXTS["text"])),
        atol=1e-5,
    )


@pytest.mark.parametrize("texts", [1, 2])
@pytest.mark.parametrize("format", ["safetensors", "onnx"])
def test_lines_of_choices(printed, exported_choices, format, texts):
    usage = Usage(MULTIPLE_CHOICE, ("A", "B", "C"), texts, 16)
    names = ["choice A", "choice B", "choice C"]
    seconds = [f"a question? {name}" for name in names] if texts == 2 else names
    tokens = tokenizer(types=format == "safetensors")
    batch = tokens(["a text"] * 3, seconds, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = exported_choices.model(**{name: tensor[None] for name, tensor in batch.items()}).logits
    lines = printed(usage, exported_choices.model, exported_choices.path if format == "onnx" else None)
    assert lines == [names[int(logits.argmax())]]
