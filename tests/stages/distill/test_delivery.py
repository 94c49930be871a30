from pathlib import Path

import pytest

from pipeline.errors import BadModel, MissingExtra
from stages.distill import delivery
from stages.distill.delivery import export_best, export_text
from stages.distill.places import Places
from stages.distill.steps import Steps
from stages.export import ExportResult

PLACES = Places(Path(), "toy")
QUANTISED = "exports/toy-kd-2-onnx-int8"
PLAIN = "exports/toy-kd-2-safetensors"


def result(config, agreement=1.0, speedup=None):
    facts = dict(examples=9, metrics_before={}, metrics_after={}, agreement=agreement, max_difference=0.0)
    sizes = dict(bytes_before=9000, bytes=4200, speed={}, speedup=speedup, seconds=1.0)
    return ExportResult("export", config.out, config.format, config.quantize, **facts, **sizes)


@pytest.fixture(params=[BadModel("it loses too much"), MissingExtra("pip install '.[onnx]'")], ids=["loss", "extra"])
def without_int8(request, monkeypatch):
    """`export` where the first form does not succeed."""

    def run(config):
        if config.quantize:
            raise request.param
        return result(config)

    monkeypatch.setattr(delivery.export, "run", run)
    return request.param


def test_best_student_is_exported_in_int8_where_that_holds(in_directory, monkeypatch):
    monkeypatch.setattr(delivery.export, "run", lambda config: result(config, 0.987, 5.06))
    steps = Steps()
    exported = export_best("auto", "runs/toy/kd-2", PLACES, steps)
    assert steps.lines == [f"python cli.py export runs/toy/kd-2 --format onnx --out {QUANTISED} --quantize int8"]
    assert export_text(exported) == (
        f"Exported: {QUANTISED} (onnx int8, 4.2 kB; agrees with the student on 98.7 %, 5.1 × as fast in batches)"
    )


def test_best_student_is_exported_as_it_is_elsewhere(in_directory, without_int8, capsys):
    steps = Steps()
    exported = export_best("auto", "runs/toy/kd-2", PLACES, steps)
    assert steps.lines == [f"python cli.py export runs/toy/kd-2 --format safetensors --out {PLAIN}"]
    assert f"not exported as onnx-int8: {without_int8}\n" in capsys.readouterr().err
    assert export_text(exported) == f"Exported: {PLAIN} (safetensors, 4.2 kB; agrees with the student on 100.0 %)"


def test_form_that_was_asked_for_is_not_replaced(in_directory, without_int8):
    with pytest.raises(type(without_int8)):
        export_best("onnx-int8", "runs/toy/kd-2", PLACES, Steps())


def test_export_that_is_there_is_not_tried_in_another_form(in_directory, without_int8, capsys):
    Path(PLAIN).mkdir(parents=True)
    export_best("auto", "runs/toy/kd-2", PLACES, Steps())
    assert "not exported" not in capsys.readouterr().err
