"""Exports are left only where they compute what their runs do, and their cards and records say how they compare."""

import errno
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from stages import export

KEYS = """command out format quantize examples metrics_before metrics_after agreement max_difference bytes_before bytes
speed speedup seconds""".split()


@pytest.fixture
def run_card(monkeypatch, capsys):
    """Run the lines of a card in its directory, and return what they print."""

    def run(directory: Path) -> str:
        [lines] = re.findall(r"```python\n(.*?)\n```", (directory / "README.md").read_text(), re.DOTALL)
        monkeypatch.chdir(directory)
        capsys.readouterr()
        exec(compile(lines, "README.md", "exec"), {})
        return capsys.readouterr().out

    return run


@pytest.fixture
def shifted(monkeypatch):
    """Let exports compute the logits of the run and something on top."""

    def by(change) -> None:
        def write_model(config, predictor, directory, *_):
            (directory / "model.safetensors").write_bytes(b"weights")
            return lambda inputs: change(predictor.forward(inputs))

        monkeypatch.setattr(export, "write_model", write_model)

    return by


def test_safetensors_export_is_a_model_of_transformers(tiny, tmp_path, call, run_card):
    out = tmp_path / "export"
    first = call("export", tiny.teacher, "--format", "safetensors", "--out", out)
    assert first.code == 0 and [*first.json] == KEYS
    assert first.json["max_difference"] < 1e-5 and first.json["agreement"] == 1
    assert first.json["metrics_before"] == first.json["metrics_after"] and first.json["examples"] == 90
    names = {"README.md", "config.json", "export.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in out.iterdir()} == names
    model = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    original = transformers.AutoModelForSequenceClassification.from_pretrained(tiny.teacher / "model")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), original.parameters(), strict=True))
    assert "'label': 'neg'" in run_card(out)
    record = json.loads((out / "export.json").read_text())
    expected = {"format": "safetensors", "quantize": None, "task": "toy", "kind": "single-label", "opset": None}
    assert expected.items() <= record.items()
    assert (record["labels"], record["text_columns"], record["max_length"]) == (["neg", "pos"], ["text"], 128)
    assert str(tmp_path) not in json.dumps(record)

    again = call("export", tiny.teacher, "--format", "safetensors", "--out", out)
    assert again.json == first.json
    assert again.error == f"{out} holds this export, complete: nothing was written"
    other = call("export", tiny.teacher, "--format", "safetensors", "--out", out, "--split", "test")
    assert (other.code, other.error) == (
        2,
        f'Error: {out} holds another export (split: "dev" ≠ "test"). Name another --out, or remove it',
    )
    (out / "config.json").write_text("{}")
    changed = call("export", tiny.teacher, "--format", "safetensors", "--out", out)
    fact = f"Error: {out} exists and is not a complete export. Name another --out, or remove it"
    assert (changed.code, changed.error) == (2, fact)


@pytest.mark.timeout(900)  # seconds of torch's exporter, on a machine that others use too
def test_onnx_export_in_8_bits_with_its_card(tiny, tmp_path, call, run_card):
    out = tmp_path / "export"
    words = ("--format", "onnx", "--quantize", "int8", "--allow-loss", "--max-examples", 40)
    result = call("export", tiny.teacher, "--out", out, *words).json
    assert [*result] == KEYS and result["examples"] == 40
    assert result["bytes"] < result["bytes_before"] and 0 < result["max_difference"] < 0.5
    assert [*result["speed"]] == ["1", "32"]
    assert result["speedup"] == round(result["speed"]["32"]["after"] / result["speed"]["32"]["before"], 2)
    names = {"README.md", "config.json", "export.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in out.iterdir()} == names
    assert [line.split()[0] for line in run_card(out).splitlines()] == ["neg", "neg"]
    rows = tmp_path / "rows.csv"
    rows.write_text("text\nthe film is good\n")
    assert call("predict", out, "--file", rows, "--out", tmp_path / "predictions.csv").code == 0
    assert "pos" in (tmp_path / "predictions.csv").read_text()


def test_export_that_differs_from_its_run_is_not_left(tiny, tmp_path, call, shifted):
    words = ("export", tiny.teacher, "--format", "safetensors", "--out", tmp_path / "export")
    shifted(lambda logits: logits + np.float32(0.01))
    assert call(*words).error == (
        f"Error: the export differs from {tiny.teacher} by 1.0e-02 in a logit, and 0.0001 is allowed: nothing was "
        "written. Use the other --format"
    )
    shifted(lambda logits: logits * np.nan)
    result = call(*words)
    fact = "Error: the predictions of the export are not finite numbers: nothing was written. Use another --format"
    assert (result.code, result.error) == (2, fact)
    assert not list(tmp_path.iterdir())


def test_loss_in_8_bits_is_refused_unless_it_is_allowed(tiny, tmp_path, call, shifted):
    shifted(lambda logits: logits + np.float32([9, 0]))
    words = ("export", tiny.teacher, "--format", "onnx", "--quantize", "int8", "--out", tmp_path / "export")
    refused = call(*words)
    assert re.fullmatch(
        rf"Error: --quantize int8 agrees with {tiny.teacher} to \d\d\.\d\d % on 90 examples, below 98 % \(accuracy of "
        r"dev: \d\.\d{4} before, \d\.\d{4} after\): nothing was written\. Leave --quantize out, or add --allow-loss",
        refused.error,
    )
    assert refused.code == 2 and not list(tmp_path.iterdir())
    allowed = call(*words, "--allow-loss")
    assert allowed.code == 0 and allowed.json["agreement"] < 0.98
    assert allowed.error.startswith("warning: --quantize int8 agrees with ")
    again = call(*words)
    assert (again.code, again.error) == (2, refused.error)
    assert call(*words, "--allow-loss").json == allowed.json
    record = tmp_path / "export" / "export.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "agreement": "all"}))
    damaged = call(*words)
    assert damaged.code == 2 and "was exported by another version" in damaged.error


def test_directory_that_another_process_made_meanwhile_is_kept(tiny, tmp_path, call, shifted):
    out = tmp_path / "export"

    def change(logits):
        out.mkdir(exist_ok=True)
        (out / "notes.txt").write_text("mine")
        return logits

    shifted(change)
    result = call("export", tiny.teacher, "--format", "safetensors", "--out", out)
    fact = f"Error: {out} was made by another process. Name another --out, or remove it"
    assert (result.code, result.error) == (2, fact)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_export_that_breaks_off_leaves_nothing(tiny, tmp_path, call, shifted, monkeypatch):
    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shifted(lambda logits: logits)
    monkeypatch.setattr(export, "write_record", full)
    out = tmp_path / "export"
    result = call("export", tiny.teacher, "--format", "safetensors", "--out", out)
    fact = f"Error: {out} cannot be written (No space left on device). Make room, or name another --out"
    assert (result.code, result.error) == (2, fact)
    assert not list(tmp_path.iterdir())


def test_options_that_do_not_fit_are_refused(tiny, tmp_path, call):
    words = ("export", tiny.teacher, "--out", tmp_path / "export")
    assert call(*words, "--format", "safetensors", "--quantize", "int8").error == (
        "Error: --quantize int8 writes ONNX: transformers cannot load a quantised safetensors file. Use --format onnx"
    )
    assert call(*words, "--format", "onnx", "--allow-loss").error == (
        "Error: --allow-loss belongs to --quantize int8. Leave it out"
    )


def test_missing_extra_is_named_first(tiny, tmp_path, call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    result = call("export", tiny.teacher, "--format", "onnx", "--out", tmp_path / "export")
    assert result.error == "Error: --format onnx needs the package onnx: pip install '.[onnx]'"


def test_unfinished_run_and_a_cache_that_is_gone_are_named(tiny, tmp_path, call):
    words = ("--format", "safetensors", "--out", tmp_path / "export")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "started.json").write_text("{}")
    assert call("export", unfinished, *words).error == (
        f"Error: {unfinished} is unfinished: run its command again with --resume"
    )
    moved = shutil.copytree(tiny.teacher, tmp_path / "moved")
    record = json.loads((moved / "run.json").read_text())
    (moved / "run.json").write_text(json.dumps(record | {"cache": str(tmp_path / "gone")}))
    fact = f"Error: the cache of this run was {tmp_path / 'gone'}, which does not exist. "
    assert call("export", moved, *words).error == fact + "Name its present place with --cache"
    assert not (tmp_path / "export").exists()
