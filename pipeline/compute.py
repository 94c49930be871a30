"""Where and in which precision a stage computes: an Accelerator made inside `run`, never at import."""

from typing import Any

import torch

from pipeline.errors import BadOption


def bfloat16_in_hardware() -> bool:
    """Whether this machine multiplies bfloat16 matrices natively (AVX-512 BF16 or AMX on a CPU)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.backends.mps.is_available():
        return False
    capabilities = cpu_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def cpu_capabilities() -> dict[str, Any]:
    """What torch says of the processor; before it had one function for that, the two flags that matter here."""
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    return {
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx_bf16": torch.cpu._is_amx_tile_supported(),
    }


def resolve_precision(precision: str) -> str:
    """'bfloat16' or 'float32'; auto is bfloat16 where the hardware computes in it."""
    if precision == "auto":
        return "bfloat16" if bfloat16_in_hardware() else "float32"
    return precision


def accelerator(precision: str) -> Any:
    """An Accelerator for this resolved precision. Earlier ones of the process are forgotten: accelerate keeps
    their precision in shared state and would refuse another."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    return Accelerator(mixed_precision="bf16" if precision == "bfloat16" else "no")


def single_process(command: str) -> None:
    """Refuse `accelerate launch` with several processes for a command that is one process."""
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadOption(f"{command} runs as one process. Start it without accelerate launch")
