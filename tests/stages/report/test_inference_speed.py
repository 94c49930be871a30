"""The speed of predictions, from the file of benchmark inference."""

import json

import pytest

from pipeline.errors import BadOption
from pipeline.pages.picture import figure_style
from stages.report.blocks import Figures, Table, Text
from stages.report.comparison import compare
from stages.report.inference_speed import read_speeds
from stages.report.size_and_speed import size_and_speed
from tests.helpers.reports import distillation, student

SHAPES = {"1 × 128": {"examples_per_second": 20.0}, "32 × 128": {"examples_per_second": 80.0}}


def write(path, *names):
    forms = {form: {"shapes": SHAPES} for form in ("torch float32", "onnx int8")}
    path.write_text(json.dumps({"models": {name: {"forms": forms} for name in names}}))
    return str(path)


def test_speeds_of_the_runs_and_of_the_teacher_are_shown(tmp_path):
    run = student("kd", 30)
    speeds = read_speeds(write(tmp_path / "speed.json", "teacher", run.path.name, "another"), [run])
    comparison = compare(distillation(run))
    with figure_style():
        *_, table, figures, source = size_and_speed(comparison, speeds)
    assert isinstance(table, Table) and table.header == ("method", "form", "1 × 128", "32 × 128")
    assert table.rows == (
        ("KD", "torch float32", "20", "80"),
        ("KD", "onnx int8", "20", "80"),
        ("Teacher", "torch float32", "20", "80"),
        ("Teacher", "onnx int8", "20", "80"),
    )
    assert isinstance(figures, Figures) and isinstance(source, Text)


def test_without_a_measurement_its_command_is_named():
    run = student("kd", 30)
    with figure_style():
        *_, text = size_and_speed(compare(distillation(run)), None)
    assert text == Text(
        "The speed of predictions was not measured. Measure it, then add --inference FILE: "
        f"python cli.py benchmark inference {run.path}"
    )


def test_files_without_these_runs_are_refused(tmp_path):
    run = student("kd", 30)
    advice = f"Measure them: python cli.py benchmark inference {run.path}"
    name = write(tmp_path / "other.json", "teacher", "another")
    with pytest.raises(BadOption) as error:
        read_speeds(name, [run])
    assert str(error.value) == f"--inference {name} has none of these runs. {advice}"
    for text in ("[]", '{"models": {"a": 1}}', "no json", '{"models": {"a": {"forms": {"b": {"shapes": {"c": {}}}}}}}'):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(BadOption, match="it is not a result of benchmark inference"):
            read_speeds(str(tmp_path / "odd.json"), [run])
