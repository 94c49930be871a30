"""Forms in which benchmark `inference` runs a model: torch in two precisions, ONNX Runtime in float32 and int8."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.errors import BadModel, MissingExtra
from pipeline.inference.onnx_writer import require_onnx, write_onnx
from pipeline.inference.quantization import write_int8
from pipeline.inference.random_inputs import InputForm, input_form, random_inputs
from pipeline.models.accelerator import bfloat16_in_hardware
from pipeline.models.encoders import depth_of, parameter_count
from pipeline.models.fast.cls_only_last_layer import LastLayerForCls
from pipeline.models.fast.shortcut import use_where_equal
from pipeline.models.probe import evaluation
from stages.benchmarks.contenders.inference_contenders import Turns, integer_product, onnx_model, torch_model
from stages.benchmarks.harness.timing import Contender
from stages.benchmarks.inference_models import LoadedModel
from stages.benchmarks.train import best_product

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
TORCH = f"torch {FLOAT32}"  # what every other form is compared with


@dataclass(frozen=True, kw_only=True)
class MeasuredForm:
    """A model in one form: its bytes on disk, and the FLOP of an example of each length in tokens.

    `build` with `arguments`, and the turns, makes a contender of it.
    """

    model: str
    teacher: str | None
    layers: int
    parameters: int
    form: str
    precision: str
    bytes: int
    flops: Mapping[int, float]
    build: Callable[..., Any]
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Its name in results."""
        return f"{self.model}, {self.form}"

    def contender(self, turns: Turns) -> Contender:
        """Return it as a process that takes turns."""
        return Contender(self.build, *self.arguments, turns)


def write_forms(
    model: LoadedModel, directory: Path, lengths: Sequence[int], device: str
) -> tuple[list[MeasuredForm], list[str]]:
    """Write a model into a new directory in every form that runs here; return them, and notes of those left out."""
    directory.mkdir()
    form, remarks = input_form(model.module), []
    forms = _torch_forms(model, directory / "torch", form, lengths, device)
    if len(forms) == 1:
        remarks.append(f"left out: torch {BFLOAT16}, in which this machine does not multiply")
    if device == "cpu":
        try:
            forms += _onnx_forms(model, directory / "model.onnx", form, lengths)
        except (MissingExtra, BadModel) as error:
            of_model = "" if isinstance(error, MissingExtra) else f" of {model.name}"
            remarks.append(f"left out: the ONNX forms{of_model}: {error}")
    else:
        remarks.append("left out: ONNX Runtime, which is measured on the CPU only: --device cpu")
    return forms, remarks


def _torch_forms(
    model: LoadedModel, directory: Path, form: InputForm, lengths: Sequence[int], device: str
) -> list[MeasuredForm]:
    """Save a model as transformers does; return its forms in torch: bfloat16 only where the hardware multiplies it."""
    model.module.save_pretrained(directory)
    weights = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    flops = {length: forward_flops(model.module, form, length) for length in lengths}
    precisions = (FLOAT32, BFLOAT16) if bfloat16_in_hardware() else (FLOAT32,)
    return [
        _form(model, f"torch {each}", each, weights, flops, torch_model, (str(directory), form, each, device))
        for each in precisions
    ]


def _onnx_forms(model: LoadedModel, file: Path, form: InputForm, lengths: Sequence[int]) -> list[MeasuredForm]:
    """Write a model as ONNX files; return its forms in ONNX Runtime. Raises `MissingExtra`, `BadModel`."""
    require_onnx("ONNX Runtime")
    files = {FLOAT32: file, INT8: file.with_suffix(f".{INT8}.onnx")}
    write_onnx(model.module, files[FLOAT32])
    write_int8(files[FLOAT32], files[INT8])
    flops = {length: forward_flops(model.module, form, length, cls_only=True) for length in lengths}
    return [
        _form(model, f"ONNX {each}", each, path.stat().st_size, flops, onnx_model, (str(path), form))
        for each, path in files.items()
    ]


def _form(
    model: LoadedModel,
    name: str,
    precision: str,
    weights: int,
    flops: Mapping[int, float],
    build: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> MeasuredForm:
    return MeasuredForm(
        model=model.name,
        teacher=model.teacher,
        layers=depth_of(model.module.config),
        parameters=parameter_count(model.module),
        form=name,
        precision=precision,
        bytes=weights,
        flops=flops,
        build=build,
        arguments=arguments,
    )


def product_contenders(precisions: Collection[str], device: str, threads: int) -> dict[str, Contender]:
    """Return processes that measure the best matrix product of this machine in each precision."""
    contenders = {
        precision: Contender(best_product, device, precision)
        for precision in (FLOAT32, BFLOAT16)
        if precision in precisions
    }
    return contenders | ({INT8: Contender(integer_product, threads)} if INT8 in precisions else {})


def forward_flops(model: Any, form: InputForm, length: int, cls_only: bool = False) -> float:
    """Return the FLOP of the matrix products of one example: 2 for each weight and token, and those of attention.

    With `cls_only` the last layer computes [CLS] alone where that proved equal, as in an ONNX file. The parameters of
    the model are frozen.
    """
    inputs = {name: torch.from_numpy(array) for name, array in random_inputs(form, 1, length).items()}
    model.requires_grad_(False)  # torch's counter follows gradients, and fails on those of DeBERTa
    attention, shortcut = model.config._attn_implementation, LastLayerForCls(model)
    model.set_attn_implementation("eager")  # torch does not count its fused attention on a CPU
    used = use_where_equal(model, [shortcut]) if cls_only else []
    try:
        with evaluation(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(**inputs)
    finally:
        if used:
            shortcut.undo()
        model.set_attn_implementation(attention)
    return float(counter.get_total_flops())
