"""Finished models at work, each in a process of its own that does nothing else: in torch, and in ONNX Runtime.

A turn takes the number of a shape and times batches of it. torch is imported where it is run, so that the memory of
the other processes is their own.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipeline.inference.latency import measure_latency
from pipeline.inference.random_inputs import InputForm, input_form, random_inputs
from stages.benchmarks.harness.process_memory import RESIDENT, kilobytes
from stages.benchmarks.harness.timing import Measured

LATENCY, MEMORY = "latency", "memory"  # batches and their seconds; bytes of the process at its peak
FEWEST, MOST = 2, 1000  # calls of a turn
PRODUCT_SIZE = 2048
Shape = tuple[int, int]  # examples, tokens
Turn = Callable[[int], Measured]


def shape_name(shape: Shape) -> str:
    """Return a shape as text: examples × tokens."""
    return f"{shape[0]} × {shape[1]}"


@dataclass(frozen=True)
class Turns:
    """The shapes of the turns, the seconds of each, and the threads to compute on."""

    shapes: tuple[Shape, ...]
    seconds: float
    threads: int


def torch_model(directory: str, form: InputForm, precision: str, device: str, turns: Turns) -> Turn:
    """Load a model that this program saved, as transformers does in this precision, and time it."""
    import torch
    import transformers

    from pipeline.models.accelerator import synchronized_clock

    torch.set_num_threads(turns.threads)
    kind: Any = transformers.AutoModelForSequenceClassification
    if form.sequences > 1:
        kind = transformers.AutoModelForMultipleChoice
    model = kind.from_pretrained(directory, dtype=getattr(torch, precision), local_files_only=True).to(device).eval()

    @torch.inference_mode()
    def turn(number: int) -> Measured:
        arrays = random_inputs(form, *turns.shapes[number])
        inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return _timed(partial(model, **inputs), turns, lambda: synchronized_clock(device))

    return turn


def onnx_model(file: str, form: InputForm, turns: Turns) -> Turn:
    """Open an ONNX file that this program wrote in ONNX Runtime alone, and time it."""
    session = _session(file, turns.threads)
    names = [entry.name for entry in session.get_inputs()]

    def turn(number: int) -> Measured:
        arrays = random_inputs(form, *turns.shapes[number])
        return _timed(lambda: session.run(None, {name: arrays[name] for name in names}), turns)

    return turn


def depth_models(configs: Mapping[int, Any], device: str, turns: Turns) -> Turn:
    """Build encoders with random weights, each named by its number of layers, and time them one after the other."""
    import torch

    from pipeline.models.accelerator import synchronized_clock
    from pipeline.models.checkpoints import build_classifier

    torch.set_num_threads(turns.threads)
    models = {layers: build_classifier(config).to(device).eval() for layers, config in configs.items()}

    @torch.inference_mode()
    def turn(number: int) -> Measured:
        measured = {}
        for layers, model in models.items():
            arrays = random_inputs(input_form(model), *turns.shapes[number])
            inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
            times = _timed(partial(model, **inputs), turns, lambda: synchronized_clock(device))
            measured[str(layers)] = times[LATENCY]
        return measured

    return turn


def integer_product(threads: int) -> Turn:
    """Time a matrix product of 8-bit integers in ONNX Runtime, as quantised models use it: operations per second."""
    from onnx import TensorProto, helper, numpy_helper

    n = PRODUCT_SIZE
    draw = np.random.default_rng(0)
    weights = numpy_helper.from_array(draw.integers(-127, 128, (n, n), np.int8), "b")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [n, n])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [n, n])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session, a = _session(model.SerializeToString(), threads), draw.integers(0, 256, (n, n), np.uint8)

    def turn(_: int) -> Measured:
        best = measure_latency(lambda: session.run(None, {"a": a}), warmup=1, calls=5).low / 1000
        return {"product": (2 * n**3, best)}

    return turn


def _session(model: str | bytes, threads: int) -> Any:
    """Return a session of ONNX Runtime on the CPU, on so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _timed(run: Callable[[], object], turns: Turns, clock: Callable[[], float] = time.perf_counter) -> Measured:
    """Return the median seconds of a batch, and the peak memory of this process where the system tells it."""
    found = measure_latency(run, warmup=1, calls=MOST, seconds=turns.seconds, fewest=FEWEST, clock=clock)
    return {LATENCY: (1.0, found.median / 1000), MEMORY: (1000.0 * kilobytes(os.getpid(), RESIDENT), 1.0)}
