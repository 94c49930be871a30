"""Models in 8 bits, by onnxruntime: a quarter of the bytes, and matrix products of whole numbers.

Weights have a scale per output channel. The scale of the inputs of a product is taken from each batch as it comes:
scales that are fixed beforehand are less exact here, and not faster (docs/log.md). Products that make a model lose too
much on examples of its training stay in float32.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.inference.onnx_model import OnnxModel, load_onnx
from pipeline.inference.onnx_writer import require_onnx, silent
from pipeline.system.files import write_file

ENOUGH = 0.985  # agreement with the model in float32 on examples of its training
_PRODUCT, _EMBEDDING = "MatMul", "Gather"


def write_int8(source: Path, path: Path, agreement: Callable[[OnnxModel], float] | None = None) -> int:
    """Write the ONNX model in `source` in 8 bits, complete or not at all; return how many products stay in float32.

    `agreement` says how well a model agrees with that in float32. Where it is below 98.5 % with every product in 8
    bits, those whose inputs are wider than their outputs stay in float32: the second ones of the feed-forward layers,
    whose inputs have the largest outliers. Raises OSError, `MissingExtra`, `BadModel`.
    """
    require_onnx("--quantize int8")
    _write(source, path, ())
    if agreement is None or agreement(load_onnx(path)) >= ENOUGH:
        return 0
    narrowing = _narrowing_products(source)
    _write(source, path, narrowing)
    return len(narrowing)


def _write(source: Path, path: Path, in_float: Iterable[str]) -> None:
    """Write the model in 8 bits, but for these products."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def write(temporary: Path) -> None:
        with silent():
            quantize_dynamic(
                source,
                temporary,
                op_types_to_quantize=[_PRODUCT, _EMBEDDING],
                nodes_to_exclude=[*in_float],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
        model = onnx.load(temporary)
        _keep_layer_norms_apart(model.graph)
        onnx.save(model, temporary)

    write_file(path, write)


def _narrowing_products(source: Path) -> list[str]:
    """Return the names of the products with weights [in, out] where in > out."""
    import onnx

    graph = onnx.load(source).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer if len(weight.dims) == 2}
    products = [node for node in graph.node if node.op_type == _PRODUCT and node.input[1] in shapes]
    return [node.name for node in products if shapes[node.input[1]][0] > shapes[node.input[1]][1]]


def _keep_layer_norms_apart(graph: Any) -> None:
    """Write the residual sums before LayerNorms as Sum, which onnxruntime does not fuse with them, and not as Add.

    Its kernel for both together takes four times as long as the two (docs/log.md).
    """
    inputs = {node.input[0] for node in graph.node if node.op_type == "LayerNormalization"}
    for node in graph.node:
        if node.op_type == "Add" and inputs & {*node.output}:
            node.op_type = "Sum"
