"""Forward passes of finished models: a module of torch, or an ONNX file. Batches of tokens in, logits out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from pipeline.data.task_kinds import TaskKind
from pipeline.errors import BadOption
from pipeline.inference.model_source import ONNX_FILE, ModelSource
from pipeline.inference.onnx_model import load_onnx
from pipeline.models.accelerator import make_accelerator, prepare_for_cls, resolve_precision
from pipeline.models.checkpoints import load_classifier
from pipeline.models.inputs import fit_tokenizer
from pipeline.training.input_record import InputRecord

Inputs = Mapping[str, torch.Tensor]  # input_ids, attention_mask, token_type_ids where the model has them: [B, T]
Forward = Callable[[Inputs], np.ndarray]  # or [B, S, T] for choices -> logits float32 [B, C]


def load_module(source: ModelSource, record: InputRecord, kind: TaskKind, tokenizer: Any) -> Any:
    """Return the model of torch, to which the tokenizer is fitted."""
    name = str(source.model)
    model: Any = load_classifier(name, safetensors_only=True)
    has_choices = kind.sequences(model.config.num_labels) > 1
    fit_tokenizer(name, tokenizer, model, 2 if has_choices else len(record.text_columns))
    return model


def onnx_forward(source: ModelSource, kind: TaskKind, config: Any, precision: str) -> tuple[Forward, str, str]:
    """Return the ONNX model of an export, its number format, and its device. Raises `BadOption` for another format."""
    if precision != "auto":
        raise BadOption(
            f"{source.directory} is an ONNX export, which computes as it was written. Leave --precision out"
        )
    file = source.model / ONNX_FILE
    if not file.is_file():
        raise source.damaged(file, "it is missing")
    model = load_onnx(file)
    if model.rank != (3 if kind.sequences(config.num_labels) > 1 else 2):
        raise source.damaged(file, f"its inputs have {model.rank} axes")
    return model, str(source.values.get("quantize") or "float32"), "cpu"


def torch_forward(model: Any, source: ModelSource, precision: str, device: str) -> tuple[Forward, str, str]:
    """Return what computes logits with a module of torch, its number format, and its device, to which it is moved.

    Precision auto is that of the training, or float32 where the hardware lacks it.
    """
    resolved = resolve_precision(precision, source.precision)
    accelerator = make_accelerator(resolved, device)
    ready = prepare_for_cls(model, accelerator.device).eval()

    @torch.inference_mode()
    def forward(inputs: Inputs) -> np.ndarray:
        placed = {name: tensor.to(accelerator.device, non_blocking=True) for name, tensor in inputs.items()}
        with accelerator.autocast():
            logits: np.ndarray = ready(**placed).logits.float().cpu().numpy()
        return logits

    return forward, resolved, accelerator.device.type
