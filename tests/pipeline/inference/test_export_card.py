"""The page of an export: the card of its run, with the comparison; names of others are not markup."""

from types import SimpleNamespace

import pytest

from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.inference.export_card import export_card
from pipeline.training.input_record import InputRecord

RECORD = {
    "format": "onnx",
    "quantize": "int8",
    "examples": 1500,
    "metrics_before": {"dev": {"accuracy": 0.75, "f1:`|": 0.5}},
    "metrics_after": {"dev": {"accuracy": 0.7333, "f1:`|": 0.5}},
    "agreement": 0.9866,
    "max_difference": 0.25,
    "bytes_before": 69568832,
    "bytes": 17534675,
    "speed": {"1": {"before": 162.4, "after": 740.9}},
    "command_line": "python cli.py export runs/toy --format onnx --quantize int8 --out x",
}


@pytest.fixture
def predictor():
    record = InputRecord(
        task="toy|`", kind="single-label", labels=("a", "b"), text_columns=("text",), choices_columns=(), max_length=16
    )
    source = SimpleNamespace(values={"command": "train-student", "config": {}, "result": {}})
    return SimpleNamespace(source=source, record=record, kind=SINGLE_LABEL)


def test_page_compares_the_export_with_its_run(predictor):
    page = export_card(RECORD, predictor)
    assert (
        "ONNX, int8, compared with the run in float32 on 1,500 examples: the largest difference of a logit is 2.5e-01, "
        "and the predictions agree to 98.66 %." in page
    )
    for line in (
        "| `dev` `accuracy` | 0.7500 | 0.7333 |",
        "| bytes of the weights | 69,568,832 | 17,534,675 |",
        "| examples per second, batch 1 | 162 | 741 |",
        RECORD["command_line"],
        "In this directory, after `pip install onnxruntime transformers`:",
    ):
        assert line in page
    assert "`` toy|` ``" in page and "``f1:`\\|``" in page


def test_page_of_safetensors_has_the_lines_of_its_run_for_this_directory(predictor):
    page = export_card(RECORD | {"format": "safetensors", "quantize": None, "speed": {}}, predictor)
    assert "safetensors, float32, compared" in page and "examples per second" not in page
    assert 'pipeline("text-classification", ".")' in page
