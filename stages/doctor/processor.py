"""The cores that this process may use, who else uses them, and the memory."""

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import one_line
from pipeline.system.cgroup import core_quota, memory_limit
from pipeline.system.cpu import available_cores, memory_bytes
from pipeline.system.formatting import size
from stages.doctor.checks import NOTE, OK, PROBLEM, Check

SAMPLE_SECONDS = 0.3
BUSY = 0.5  # cores that others may use before it is worth a note
BUSIEST = 3  # processes that are named
LITTLE_MEMORY, TOO_LITTLE_MEMORY = 2_000_000_000, 500_000_000  # bytes; a BERT-base in training needs about 2 GB


def processor() -> Iterator[Check]:
    """Yield a check of the cores, and one of what other processes use of them."""
    cores, quota = available_cores(), core_quota()
    fact = f"{_model()}: {cores} of {os.cpu_count()} cores"
    if quota is not None and quota < cores:
        threads = max(1, int(quota))
        fact += f", and the container allows {quota:g} at a time"
        yield Check(
            "processor", NOTE, fact, f"More threads than that wait for each other: export OMP_NUM_THREADS={threads}"
        )
    else:
        yield Check("processor", OK, fact)
    yield _other_work(cores)


def _model() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return one_line(next(names, "") or platform.processor() or platform.machine() or "unknown processor")


def _other_work(cores: int) -> Check:
    """Return a check of what the processes beside this one use, in a short sample."""
    import psutil

    before = {process: _seconds(process) for process in psutil.process_iter() if process.pid != os.getpid()}
    started = time.monotonic()
    time.sleep(SAMPLE_SECONDS)
    elapsed = time.monotonic() - started
    used = {process: (_seconds(process) - seconds) / elapsed for process, seconds in before.items()}
    total = sum(max(0.0, share) for share in used.values())
    busiest = sorted(used, key=lambda process: -used[process])[:BUSIEST]
    names = [f"{_name(process)} ({process.pid}) {used[process]:.1f}" for process in busiest if used[process] >= 0.05]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    fact = f"other processes use {total:.1f} of {cores} cores{load}" + (f": {', '.join(names)}" if names else "")
    if total < BUSY:
        return Check("other work", OK, fact)
    return Check("other work", NOTE, fact, "Trainings and timings are slower beside them: end them, or wait")


def _seconds(process: object) -> float:
    """Return the processor seconds of a process; 0 for one that has ended or is not to be looked at."""
    import psutil

    try:
        times = process.cpu_times()  # type: ignore[attr-defined]
    except (psutil.Error, OSError):
        return 0.0
    return float(times.user + times.system)


def _name(process: object) -> str:
    """Return the name of a process without its arguments, which can hold secrets."""
    import psutil

    try:
        return one_line(process.name(), 40)  # type: ignore[attr-defined]
    except (psutil.Error, OSError):
        return "ended"


def memory() -> Iterator[Check]:
    """Yield a check of the memory that this process can still use."""
    import psutil

    free, limit = psutil.virtual_memory().available, memory_limit()
    fact = f"{size(free)} free of {size(memory_bytes() or psutil.virtual_memory().total)}"
    if limit is not None and limit < memory_bytes():
        free = min(free, limit)
        fact += f", and the container allows {size(limit)}"
    state = PROBLEM if free < TOO_LITTLE_MEMORY else NOTE if free < LITTLE_MEMORY else OK
    advice = "A training of a BERT-base needs about 2 GB: end other programs, or use a smaller --batch-size"
    yield Check("memory", state, fact, None if state == OK else advice)


def open_files() -> Iterator[Check]:
    """Yield a check of the number of files that may be open at once."""
    import resource

    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= 1024:
        yield Check("open files", OK, f"{'any number' if limit == resource.RLIM_INFINITY else limit} at once")
    else:
        higher = min(most, 65536) if most != resource.RLIM_INFINITY else 65536
        yield Check("open files", NOTE, f"{limit} at once", f"Large caches need more: ulimit -n {higher}")
