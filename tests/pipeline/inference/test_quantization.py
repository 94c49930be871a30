"""8 bits: smaller, close to the model in float32, and with products in float32 where it loses too much."""

import numpy as np
import onnx
import onnxruntime
import pytest

from pipeline.inference.onnx_model import load_onnx
from pipeline.inference.quantization import ENOUGH, write_int8
from tests.pipeline.inference.test_onnx_writer import random_batch


def float_products(path) -> list[tuple[int, ...]]:
    graph = onnx.load(path).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    return [shapes[n.input[1]] for n in graph.node if n.op_type == "MatMul" and n.input[1] in shapes]


@pytest.fixture(scope="module")
def quantized(exported, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    assert write_int8(exported.path, path) == 0
    return path


def test_model_in_8_bits_is_smaller_and_computes_nearly_the_same(exported, quantized):
    assert quantized.stat().st_size < 0.75 * exported.path.stat().st_size
    assert not float_products(quantized)
    batch = random_batch(5, 31)
    before, after = (load_onnx(path, threads=1)(batch) for path in (exported.path, quantized))
    assert 0 < np.abs(after - before).max() < 0.25 * np.abs(before).max()


def test_same_model_gives_the_same_bytes_in_8_bits(exported, quantized, tmp_path, capfd):
    write_int8(exported.path, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == quantized.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]
    assert capfd.readouterr() == ("", "")


def test_residual_sums_are_not_fused_with_layer_norms(quantized, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "SkipLayerNormalization" not in kinds and kinds.count("LayerNormalization") == 5


@pytest.mark.parametrize(("agreement", "in_float"), [(ENOUGH, 0), (ENOUGH - 0.001, 2)])
def test_narrowing_products_stay_in_float_where_the_model_loses_too_much(exported, tmp_path, agreement, in_float):
    asked = []

    def measured(model) -> float:
        asked.append(model.inputs)
        return agreement

    assert write_int8(exported.path, tmp_path / "model.onnx", measured) == in_float
    assert float_products(tmp_path / "model.onnx") == [(64, 32)] * in_float
    assert asked == [("input_ids", "attention_mask", "token_type_ids")]
