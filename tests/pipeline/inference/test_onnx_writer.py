"""ONNX files compute what their models do, at sizes that the exporter did not see, and hold nothing of this machine."""

import numpy as np
import pytest
import torch

from pipeline.errors import BadModel, MissingExtra
from pipeline.inference import onnx_writer
from pipeline.inference.onnx_model import load_onnx
from pipeline.inference.onnx_writer import write_onnx
from tests.pipeline.inference.conftest import build

SHAPES = ((1, 2), (1, 9), (5, 31), (2, 128))


def random_batch(*shape: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    ids = torch.randint(4, 24, shape, generator=generator)
    mask = torch.ones_like(ids)
    mask[-1, ..., shape[-1] // 2 + 1 :] = 0
    types = torch.zeros_like(ids)
    types[..., shape[-1] // 2 :] = 1
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types}


def largest_difference(model, path, *leading: int) -> float:
    loaded, differences = load_onnx(path, threads=1), []
    for rows, tokens in SHAPES:
        batch = random_batch(rows, *leading, tokens)
        with torch.inference_mode():
            logits = model(**{name: batch[name] for name in loaded.inputs}).logits.numpy()
        differences.append(np.abs(loaded(batch) - logits).max())
        assert np.abs(logits).max() > 0.01
    return max(differences)


def test_file_computes_what_the_model_does(exported):
    assert load_onnx(exported.path).inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert largest_difference(exported.model, exported.path) < 1e-5


def test_model_stays_as_it_was(exported):
    assert exported.model.config._attn_implementation == "sdpa"
    assert "forward" not in vars(exported.model.bert.encoder.layer[-1])
    assert not exported.model.training


def test_file_names_its_axes_and_its_opset_and_no_path_of_this_machine(exported):
    import onnx

    model = onnx.load(exported.path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", onnx_writer.OPSET)]
    axes = [[axis.dim_param for axis in entry.type.tensor_type.shape.dim] for entry in model.graph.input]
    assert axes == [["batch", "tokens"]] * 3
    data = exported.path.read_bytes()
    assert b".py" not in data and b"site-packages" not in data


def test_same_model_gives_the_same_bytes_in_silence(exported, tmp_path, capfd):
    write_onnx(exported.model, tmp_path / "again.onnx")
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "again.onnx").read_bytes() == exported.path.read_bytes()


def test_file_of_a_multiple_choice_model_takes_choices_without_segments(exported_choices):
    loaded = load_onnx(exported_choices.path)
    assert (loaded.rank, loaded.inputs) == (3, ("input_ids", "attention_mask"))
    assert largest_difference(exported_choices.model, exported_choices.path, 3) < 1e-5


def test_operator_that_cannot_be_written_is_refused_by_the_name_of_its_model(tmp_path):
    model = build("bert", num_hidden_layers=1)

    def depends_on_values(_module, _args, inputs) -> None:  # as Longformer does
        if inputs["input_ids"].sum() > 100:
            return

    model.bert.embeddings.register_forward_pre_hook(depends_on_values, with_kwargs=True)
    with pytest.raises(BadModel) as error:
        write_onnx(model, tmp_path / "model.onnx")
    assert str(error.value).startswith("this bert has an operator that the exporter cannot write (Guard")
    assert str(error.value).endswith("). Use --format safetensors")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_model_larger_than_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_writer, "LARGEST", 10**4)
    with pytest.raises(BadModel, match=r"^this bert has 0.0 GB of weights, and an ONNX file holds 0 GB. Use --format"):
        write_onnx(build("bert"), tmp_path / "model.onnx")


def test_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingExtra) as error:
        write_onnx(build("bert"), tmp_path / "model.onnx")
    assert str(error.value) == "an ONNX file needs the package onnxscript: pip install '.[onnx]'"
