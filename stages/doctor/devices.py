"""The devices that torch computes with, and how fast this machine multiplies in float32 and in bfloat16."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import one_line
from pipeline.system.formatting import size
from stages.doctor.checks import NOTE, OK, PROBLEM, Check

SIDE = 768  # of the matrices: the width of a BERT-base
SECONDS = 0.15  # for each number format
NVIDIA = Path("/proc/driver/nvidia/version")


def devices() -> Iterator[Check]:
    """Yield a check of torch and its devices, and one of the number formats. Importing torch takes seconds."""
    try:
        import torch
    except Exception as error:
        fact = f"cannot be imported ({type(error).__name__}: {one_line(error)})"
        advice = "pip install --force-reinstall -c constraints.txt torch"
        yield Check("torch", PROBLEM, fact, advice)
        return
    yield Check("torch", OK, f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield from _gpus(torch)
    yield _bfloat16(torch)


def _gpus(torch: Any) -> Iterator[Check]:
    """Yield a check of each GPU, or of their absence."""
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        name = one_line(torch.cuda.get_device_name(index))
        little = free < total / 2
        advice = "Another program uses it: see nvidia-smi, or set CUDA_VISIBLE_DEVICES" if little else None
        yield Check("gpu", NOTE if little else OK, f"{index}: {name}, {size(free)} free of {size(total)}", advice)
    if torch.cuda.is_available():
        return
    if torch.backends.mps.is_available():
        yield Check("gpu", OK, "Apple's (mps) is there; this program computes on the processor")
    elif NVIDIA.exists() and os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        yield Check("gpu", NOTE, "CUDA_VISIBLE_DEVICES hides every GPU", "To use them: unset CUDA_VISIBLE_DEVICES")
    elif NVIDIA.exists():
        built = "is a build for CPUs" if torch.version.cuda is None else f"is built for CUDA {torch.version.cuda}"
        fact = f"there is a driver of NVIDIA, and torch {torch.__version__}, which {built}, does not see a GPU"
        yield Check("gpu", NOTE, fact, "Compare the driver in nvidia-smi; then: pip install --force-reinstall torch")
    else:
        yield Check("gpu", OK, "there is none; the processor computes")


def _bfloat16(torch: Any) -> Check:
    """Return a check of bfloat16: how the hardware computes it, and what --precision auto becomes."""
    from pipeline.models.accelerator import cpu_capabilities, resolve_device, resolve_precision

    device, precision = resolve_device("auto"), resolve_precision("auto")
    rates = {name: _rate(torch, getattr(torch, name), device) for name in ("float32", "bfloat16")}
    measured = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items())
    units = [name for name in ("amx_bf16", "avx512_bf16") if device == "cpu" and cpu_capabilities().get(name)]
    kind = f"native ({', '.join(units) or device})" if precision == "bfloat16" else "emulated"
    faster = max(rates, key=lambda name: rates[name])
    fact = f"{kind}; billion operations per second on {device}: {measured}; --precision auto is {precision}"
    if rates[faster] > 1.3 * rates[precision]:
        advice = f"{faster} multiplied faster just now: try --precision {faster}, which is another run"
        return Check("bfloat16", NOTE, fact, advice)
    return Check("bfloat16", OK, fact)


def _rate(torch: Any, dtype: Any, device: str) -> float:
    """Return the operations per second of a matrix product, the best of those that fit into a fraction of a second."""
    from pipeline.models.accelerator import synchronized_clock

    first, second = (torch.ones(SIDE, SIDE, dtype=dtype, device=device) for _ in range(2))
    first @ second  # the first one prepares
    best, until = float("inf"), time.perf_counter() + SECONDS
    while best == float("inf") or time.perf_counter() < until:
        started = synchronized_clock(device)
        first @ second
        best = min(best, synchronized_clock(device) - started)
    return float(2 * SIDE**3 / best)
