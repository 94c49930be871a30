"""The launcher of several processes, as accelerate sees it. What a platform sets for other programs is left out."""

import os

# variables that accelerate and torch read as whole numbers
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_TRUE = ("1", "true", "yes", "y", "t", "on")


def ignore_absent_launcher() -> None:
    """Remove RANK, WORLD_SIZE and LOCAL_RANK from the environment unless a launcher of this program has set them.

    A platform may set them for every program, empty or odd. A launcher is there on accelerate's own conditions:
    LOCAL_RANK is a number (with all that torch needs for the processes to meet), or accelerate is to use the CPU and
    there are several processes.
    """
    for name in (*_NUMBERS, *_MPI_SIZES):
        if _number(name) is None:
            os.environ.pop(name, None)
    if not (_launched() or _launched_on_cpu()):
        for name in _NUMBERS:
            os.environ.pop(name, None)


def is_main_process() -> bool:
    """Return whether this is the only process of the command, or the first of several."""
    return (_number("RANK") or 0) == 0


def num_processes() -> int:
    """Return the number of processes of the command."""
    return _number("WORLD_SIZE") or 1


def _launched() -> bool:
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    meets = all(os.environ.get(name, "").strip() for name in ("MASTER_ADDR", "MASTER_PORT"))
    return _number("LOCAL_RANK") is not None and rank is not None and size is not None and rank < size and meets


def _launched_on_cpu() -> bool:
    sizes = [_number(name) or 1 for name in (*_MPI_SIZES, "WORLD_SIZE")]
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in _TRUE and max(sizes) > 1


def _number(name: str) -> int | None:
    """Return the value of a variable that is a whole number from 0 up; None for any other."""
    value = os.environ.get(name, "").strip()
    return int(value) if value.isascii() and value.isdigit() else None
