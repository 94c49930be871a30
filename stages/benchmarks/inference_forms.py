"""Forms in which benchmark `inference` runs a model: torch in two precisions, ONNX Runtime in float32 and int8."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.inference.random_inputs import InputForm, input_form, random_inputs
from pipeline.models.accelerator import bfloat16_in_hardware
from pipeline.models.encoders import depth_of, parameter_count
from pipeline.models.fast.cls_only_last_layer import LastLayerForCls
from pipeline.models.fast.shortcut import use_where_equal
from pipeline.models.probe import evaluation
from stages.benchmarks.contenders.inference_contenders import Turns, integer_product, torch_model
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
    """Write a model below `directory` in every form that can be measured here; return them, and what was left out."""
    form = input_form(model.module)
    model.module.save_pretrained(directory)
    weights = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    precisions = [FLOAT32, *([BFLOAT16] if device == "cuda" or bfloat16_in_hardware() else [])]
    plain = {length: forward_flops(model.module, form, length) for length in lengths}
    forms = [
        MeasuredForm(
            model=model.name,
            teacher=model.teacher,
            layers=depth_of(model.module.config),
            parameters=parameter_count(model.module),
            form=f"torch {precision}",
            precision=precision,
            bytes=weights,
            flops=plain,
            build=torch_model,
            arguments=(str(directory), form, precision, device),
        )
        for precision in precisions
    ]
    left_out = [] if BFLOAT16 in precisions else ["torch bfloat16 is left out: this machine does not multiply in it"]
    return forms, left_out


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

    With `cls_only` the last layer computes [CLS] alone where that proved equal, as in an ONNX file.
    """
    inputs = {name: torch.from_numpy(array) for name, array in random_inputs(form, 1, length).items()}
    attention, shortcut = model.config._attn_implementation, LastLayerForCls(model)
    model.set_attn_implementation("eager")  # torch does not count its fused attention on a CPU
    used = use_where_equal(model, [shortcut]) if cls_only else []
    try:
        with evaluation(model), torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(**inputs)
    finally:
        if used:
            shortcut.undo()
        model.set_attn_implementation(attention)
    return float(counter.get_total_flops())
