"""Processor cores and processes of a command, known before torch is imported."""

import os
from functools import cache

from pipeline.errors import BadOption
from pipeline.system.launcher import num_processes


def available_cores() -> int:
    """Return the number of processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_single_process(command: str) -> None:
    """Raise `BadOption` if `accelerate launch` started several processes of a command that runs as one."""
    if num_processes() > 1:
        raise BadOption(f"{command} runs as one process. Start it without accelerate launch")


@cache
def memory_bytes() -> int:
    """Return the bytes of this machine's memory; 0 where the system does not report them."""
    if not hasattr(os, "sysconf") or not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
