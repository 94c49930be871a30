"""An export is complete, and the one that is asked for, or it is refused."""

import json

import pytest

from pipeline.errors import BadOption
from pipeline.inference.export_directory import finished_export, weight_bytes, write_record, write_surroundings
from tests.helpers.encoders import tokenizer
from tests.pipeline.inference.conftest import build

KEY = {"format": "onnx", "model_digest": "12"}


@pytest.fixture
def export(tmp_path):
    directory = tmp_path / "export"
    directory.mkdir()
    (directory / "model.onnx").write_bytes(b"12345")
    write_record(directory, {**KEY, "examples": 3})
    return directory


def refusal(directory, key=KEY) -> str:
    with pytest.raises(BadOption) as error:
        finished_export(directory, key)
    return str(error.value)


def test_complete_export_is_returned_and_an_absent_one_is_none(export, tmp_path, capsys):
    record = finished_export(export, KEY)
    assert record["examples"] == 3 and [*record["files"]] == ["model.onnx"]
    assert capsys.readouterr().err == f"{export} holds this export, complete: nothing was written\n"
    assert finished_export(tmp_path / "absent", KEY) is None


def test_another_export_is_refused_by_the_field_that_differs(export):
    assert refusal(export, KEY | {"format": "safetensors"}) == (
        f'{export} holds another export (format: "onnx" ≠ "safetensors"). Name another --out, or remove it'
    )


@pytest.mark.parametrize("damage", ["changed", "added", "removed", "record", "list"])
def test_anything_else_is_refused(export, damage):
    if damage == "changed":
        (export / "model.onnx").write_bytes(b"12346")
    elif damage == "added":
        (export / "more").write_bytes(b"1")
    elif damage == "removed":
        (export / "model.onnx").unlink()
    else:
        (export / "export.json").write_text("{" if damage == "record" else "[]")
    assert refusal(export) == f"{export} exists and is not a complete export. Name another --out, or remove it"


def test_file_and_dangling_link_in_its_place_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        assert refusal(tmp_path / name).startswith(f"{tmp_path / name} exists and is not a complete export")


def test_surroundings_name_no_path_of_this_machine(tmp_path):
    model, tokens = build("bert", num_hidden_layers=1), tokenizer()
    model.config.name_or_path = tokens.init_kwargs["name_or_path"] = "/home/someone/model"
    write_surroundings(tmp_path, model.config, tokens)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert not any("someone" in path.read_text() for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"


def test_weights_are_counted(tmp_path):
    (tmp_path / "model.onnx").write_bytes(bytes(3))
    (tmp_path / "model-1.safetensors").write_bytes(bytes(4))
    (tmp_path / "config.json").write_bytes(bytes(5))
    assert weight_bytes(tmp_path) == 7
