"""Device and precision of a stage: an Accelerator made inside `run`, never at import."""

import ctypes
import sys
import time
from typing import Any

import torch

from pipeline.models.fast.cls_only_last_layer import LastLayerForCls
from pipeline.models.fast.cpu_dropout import fast_dropout
from pipeline.models.fast.shortcut import Shortcut, use_where_equal

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them


def bfloat16_in_hardware() -> bool:
    """Return whether this machine multiplies bfloat16 matrices natively (AVX-512 BF16 or AMX on a CPU)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.backends.mps.is_available():
        return False
    capabilities = cpu_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def cpu_capabilities() -> dict[str, Any]:
    """Return the processor's capabilities by name, as torch reports them; older versions report these two flags."""
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    return {
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx_bf16": torch.cpu._is_amx_tile_supported(),
    }


def resolve_device(device: str) -> str:
    """Return 'cuda' or 'cpu'; auto is the GPU where there is one."""
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def gpu_count() -> int:
    """Return the number of GPUs that torch sees here."""
    return torch.cuda.device_count()


def resolve_precision(precision: str, trained_in: object = None) -> str:
    """Return 'bfloat16' or 'float32'; auto is bfloat16 where the hardware computes in it.

    For a model that was `trained_in` float32, auto is float32, so that it repeats its own predictions.
    """
    if precision == "auto" and trained_in == "float32":
        return "float32"
    if precision == "auto":
        return "bfloat16" if bfloat16_in_hardware() else "float32"
    return precision


def make_accelerator(precision: str, device: str = "auto") -> Any:
    """Return an Accelerator for this resolved precision; `device` "cpu" ignores a GPU.

    Earlier ones of the process are dropped: accelerate keeps their precision in shared state and would refuse another.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    keep_freed_memory()
    return Accelerator(mixed_precision="bf16" if precision == "bfloat16" else "no", cpu=device == "cpu")


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones.

    By default it returns large blocks to the system, and a sixth of a student's step on a CPU goes into mapping them
    again, page by page (docs/log.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:  # other C libraries have none
        for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(option, 2**31 - 1)


def prepare_for_cls(model: Any, device: torch.device) -> Any:
    """Move `model` to the device and make it compute [CLS] alone, by the fastest means there; return it.

    For an encoder of which nothing but [CLS] is read. Its weights, its configuration and its saved files stay the same.
    Each shortcut is used only where it proved equal on this very model.
    """
    model = model.to(device)
    shortcuts: list[Shortcut] = [LastLayerForCls(model)]
    if device.type == "cpu":
        from pipeline.models.fast.short_attention import ShortAttention  # transformers: seconds to import

        shortcuts.append(ShortAttention(model))
        fast_dropout(model)
    use_where_equal(model, shortcuts)
    return model


def synchronized_clock(device: str) -> float:
    """Return the seconds of a clock, once the device has finished its queued work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
