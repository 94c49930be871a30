"""Processor cores and processes of a command, known before torch is imported."""

import os

from pipeline.errors import BadOption
from pipeline.system.launcher import num_processes


def available_cores() -> int:
    """Return the number of processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_single_process(command: str) -> None:
    """Raise `BadOption` if `accelerate launch` started several processes of a command that runs as one."""
    if num_processes() > 1:
        raise BadOption(f"{command} runs as one process. Start it without accelerate launch")
