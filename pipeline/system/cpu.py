"""What a command may take of its machine, known before torch is imported."""

import os

from pipeline.errors import BadOption


def available_cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_single_process(command: str) -> None:
    """Refuse `accelerate launch` with several processes for a command that is one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadOption(f"{command} runs as one process. Start it without accelerate launch")
