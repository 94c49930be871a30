"""ONNX files of finished models, by torch's own exporter.

A file takes the inputs of the model by their names, int64 [B, T] ([B, S, T] of a multiple-choice model), for any number
of rows and any length up to the model's maximum, and returns `logits` float32 [B, C].
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import BadModel, one_line
from pipeline.models.encoders import sequences_of
from pipeline.models.fast.cls_only_last_layer import LastLayerForCls
from pipeline.models.fast.shortcut import use_where_equal
from pipeline.models.inputs import SEGMENTS, position_limit, segment_rows
from pipeline.models.probe import evaluation
from pipeline.system.files import write_file
from pipeline.system.optional_packages import package_directory
from pipeline.system.system_errors import refusing

OPSET = 20  # the first with Gelu
LOGITS = "logits"
LARGEST = 2 * 10**9  # bytes of one file: a limit of its format
_ROWS, _TOKENS = 3, 9  # of the example that the exporter follows through the model


class _Logits(nn.Module):
    """A model that returns its logits alone."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        segments = {} if token_type_ids is None else {SEGMENTS: token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **segments).logits
        return logits


def require_onnx(needed_by: str) -> None:
    """Raise `MissingExtra` where a package of the extra `onnx` is not installed."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        package_directory(package, package, needed_by, "onnx")


def write_onnx(model: Any, path: Path, segments: bool = True) -> None:
    """Write a model, as it was loaded, as an ONNX file: complete or not at all. The model stays as it is.

    With `segments` the file takes segment ids too, if the model has embeddings for them. Raises `MissingExtra`,
    `BadModel` for a model with an operator that the exporter cannot write, OSError.
    """
    require_onnx("an ONNX file")
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > LARGEST:
        raise BadModel(
            f"this {model.config.model_type} has {size / 1e9:.1f} GB of weights, and an ONNX file holds "
            f"{LARGEST / 1e9:.0f} GB. Use --format safetensors"
        )
    example = _example(model, segments and segment_rows(model) > 0)
    axes = {0: "batch", example["input_ids"].ndim - 1: "tokens"}

    def refusal(error: Exception) -> BadModel:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter wraps it in advice to developers
            cause = cause.__cause__
        reason = one_line(str(cause).partition("\n")[0], 160)
        return BadModel(
            f"this {model.config.model_type} has an operator that the exporter cannot write "
            f"({type(cause).__name__}: {reason}). Use --format safetensors"
        )

    with refusing(refusal), _plain(model), silent(), torch.no_grad():
        program: Any = torch.onnx.export(
            _Logits(model),
            kwargs=example,
            input_names=[*example],
            output_names=[LOGITS],
            dynamic_shapes={name: dict(axes) for name in example},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        _forget_origin(program.model)
    with silent():
        write_file(path, lambda temporary: program.save(temporary, external_data=False))


def _example(model: Any, segments: bool) -> dict[str, Tensor]:
    """Return inputs of a few rows; more than one of each axis that is to vary, or the exporter fixes it."""
    sequences = sequences_of(model.config)
    shape = (_ROWS, sequences) if sequences > 1 else (_ROWS,)
    ids = torch.ones(*shape, min(_TOKENS, position_limit(model)), dtype=torch.long)
    mask = ids.clone()
    mask[-1, ..., -1] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    return inputs | ({SEGMENTS: torch.zeros_like(ids)} if segments else {})


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Let a model compute with operators that ONNX has, its last layer for [CLS] alone where that proved equal."""
    attention, shortcut = model.config._attn_implementation, LastLayerForCls(model)
    model.set_attn_implementation("eager")
    used = use_where_equal(model, [shortcut])
    try:
        with evaluation(model):
            yield
    finally:
        if used:
            shortcut.undo()
        model.set_attn_implementation(attention)


@contextmanager
def silent() -> Iterator[None]:
    """Keep the remarks of the exporter to its developers from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _forget_origin(model: Any) -> None:
    """Remove what the exporter notes of the program that it ran: paths of this machine, and lines of its files."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    for item in (model, graph, *graph, *values):
        item.metadata_props.clear()
        item.doc_string = None
