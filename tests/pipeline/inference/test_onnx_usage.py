"""The lines of a card are run as they stand, for each kind of task, and print what the model predicts."""

import ast
import shutil

import numpy as np
import pytest
import torch

from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.inference.onnx_usage import onnx_usage
from pipeline.training.input_record import InputRecord
from tests.helpers.encoders import tokenizer

LABELS = ("a", "it's", '"b"```')
TEXTS = ["a first text", "another text"]
PAIR = (["a first text"], ["the text beside it"])


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """Run the lines in a directory with this file, and return what they print."""

    def run(kind, labels, texts: int, file) -> list[str]:
        columns = ("text", "other")[:texts]
        record = InputRecord(
            task="toy", kind=kind.name, labels=labels, text_columns=columns, choices_columns=(), max_length=16
        )
        tokenizer().save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        shutil.copy(file, tmp_path / "model.onnx")
        monkeypatch.chdir(tmp_path)
        lines = onnx_usage(record, kind)
        assert len(lines.splitlines()) <= 15
        capsys.readouterr()
        exec(compile(lines, "README.md", "exec"), {})
        return capsys.readouterr().out.splitlines()

    return run


def expected(model, *texts) -> np.ndarray:
    batch = tokenizer()(*texts, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).logits.double().numpy()


@pytest.mark.parametrize("texts", [1, 2])
def test_lines_of_single_label(printed, exported, texts):
    logits = expected(exported.model, *([TEXTS] if texts == 1 else PAIR))
    probabilities = SINGLE_LABEL.probabilities(logits)
    lines = printed(SINGLE_LABEL, LABELS, texts, exported.path)
    words, numbers = zip(*(line.rsplit(" ", 1) for line in lines), strict=True)
    assert [*words] == [LABELS[row.argmax()] for row in probabilities]
    assert np.allclose([*map(float, numbers)], probabilities.max(1), atol=1e-5)


def test_lines_of_several_labels(printed, exported):
    labels = ("a", "b", "c")
    logits = expected(exported.model, TEXTS)
    threshold = float(np.median(MULTI_LABEL.probabilities(logits)))
    kind = MULTI_LABEL.with_settings({"label_threshold": threshold - 1e-6})
    rows = [[label for label, chosen in zip(labels, row, strict=True) if chosen] for row in kind.predictions(logits)]
    assert 0 < sum(map(len, rows)) < 6
    assert [ast.literal_eval(line) for line in printed(kind, labels, 1, exported.path)] == rows


def test_lines_of_scores(printed, exported):
    logits = expected(exported.model, TEXTS)  # of three outputs, the first
    for kind in (SCALED_REGRESSION.with_settings({"label_mean": 3.5, "label_std": 2.0}), REGRESSION):
        [line] = printed(kind, (), 1, exported.path)
        assert np.allclose(np.fromstring(line.strip("[]"), sep=" "), kind.predictions(logits), atol=1e-5)


@pytest.mark.parametrize("texts", [1, 2])
def test_lines_of_choices(printed, exported_choices, texts):
    names = ["choice A", "choice B", "choice C"]
    seconds = [f"a question? {name}" for name in names] if texts == 2 else names
    batch = tokenizer(types=False)(["a text"] * 3, seconds, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = exported_choices.model(**{name: tensor[None] for name, tensor in batch.items()}).logits
    lines = printed(MULTIPLE_CHOICE, ("A", "B", "C"), texts, exported_choices.path)
    assert lines == [names[int(logits.argmax())]]
