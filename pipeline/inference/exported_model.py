"""The model of an export: written for transformers or onnxruntime, and loaded again as its users load it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config.export import ExportConfig
from pipeline.inference.export_directory import write_surroundings
from pipeline.inference.forward import Forward, Inputs
from pipeline.inference.model_source import ONNX, ONNX_FILE
from pipeline.inference.onnx_model import OnnxModel, load_onnx
from pipeline.inference.onnx_writer import write_onnx
from pipeline.inference.parity import Examples, agreement_of
from pipeline.inference.predictor import Predictor
from pipeline.inference.quantization import write_int8
from pipeline.models.checkpoints import load_classifier
from pipeline.system.progress import note

_FLOAT = "float.onnx"  # from which the quantised file is made


def write_model(
    config: ExportConfig, predictor: Predictor, directory: Path, segments: bool, calibration: Examples | None
) -> Forward:
    """Write weights, configuration and tokenizer of a run; return the model as it is read from the directory.

    `segments` is whether it takes segment ids, `calibration` has examples of the training, for a quantised model.
    """
    model: Any = load_classifier(str(predictor.source.model), safetensors_only=True)
    if config.format != ONNX:
        model.save_pretrained(directory)
    write_surroundings(directory, model.config, predictor.tokenizer)
    if config.format != ONNX:
        return _forward(load_classifier(str(directory), safetensors_only=True).eval())
    note("writing ONNX, for about half a minute")
    file = directory / ONNX_FILE
    if not config.quantize or calibration is None:
        write_onnx(model, file, segments)
        return load_onnx(file, torch.get_num_threads())
    write_onnx(model, directory / _FLOAT, segments)
    reference = calibration.joined(calibration.logits(predictor.forward, "calibration"))

    def agreement(quantized: OnnxModel) -> float:
        logits = calibration.joined(calibration.logits(quantized, "calibration"))
        return agreement_of(predictor.kind, logits, reference)

    write_int8(directory / _FLOAT, file, agreement)
    (directory / _FLOAT).unlink()
    return load_onnx(file, torch.get_num_threads())


def _forward(model: Any) -> Forward:
    """Return what computes logits with a module of torch."""

    @torch.inference_mode()
    def forward(inputs: Inputs) -> np.ndarray:
        logits: np.ndarray = model(**inputs).logits.numpy()
        return logits

    return forward
