"""ONNX files of others are checked before they run."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.errors import BadModel
from pipeline.inference.onnx_model import load_onnx


def test_batch_without_an_input_or_of_another_rank_is_refused(exported):
    model, ids = load_onnx(exported.path, threads=1), np.ones((1, 4), np.int64)
    with pytest.raises(ValueError, match=r"^the batch does not have attention_mask$"):
        model({"input_ids": ids})
    with pytest.raises(ValueError, match=r"^input_ids has 1 axes, and the model takes 2$"):
        model({"input_ids": ids[0], "attention_mask": ids, "token_type_ids": ids})


def test_damaged_file_is_refused(exported, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.path.read_bytes()[:-1000])
    with pytest.raises(BadModel, match=r"^.*/model.onnx is not an ONNX file that can be run \("):
        load_onnx(path)


def test_weights_in_another_file_are_refused(exported, tmp_path):
    path = tmp_path / "model.onnx"
    (tmp_path / "secret").write_bytes(bytes(10**5))
    model = onnx.load(exported.path)
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 2)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="secret")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadModel, match=r"can be run \(its weights are in another file\)$"):
        load_onnx(path)


@pytest.mark.parametrize(
    ("name", "kind", "shape", "reason"),
    [
        ("pixels", TensorProto.INT64, [1, 2], "its inputs are pixels"),
        ("input_ids", TensorProto.FLOAT, [1, 2], "its inputs are not int64"),
        ("input_ids", TensorProto.INT64, [1], "its inputs are input_ids"),
    ],
)
def test_model_of_other_inputs_is_refused(tmp_path, name, kind, shape, reason):
    entry, result = (helper.make_tensor_value_info(n, kind, shape) for n in (name, "logits"))
    graph = helper.make_graph([helper.make_node("Identity", [name], ["logits"])], "g", [entry], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadModel) as error:
        load_onnx(tmp_path / "model.onnx")
    assert str(error.value).endswith(f"is not an ONNX file that can be run ({reason})")
