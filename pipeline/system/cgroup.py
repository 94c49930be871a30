"""The limits that a container or a batch system sets for this process, as Linux keeps them in its control groups."""

from collections.abc import Iterator
from pathlib import Path

MEMBERSHIP, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60  # bytes: version 1 writes a huge number where there is none


def core_quota() -> float | None:
    """Return how many cores this process may keep busy on average; None where nothing limits it."""
    limits = []
    for directory in _directories("cpu"):
        quota, period = [*_words(directory / "cpu.max"), "max", "100000"][:2]
        if quota == "max":  # not version 2
            quota, period = (_first(directory / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit() -> int | None:
    """Return how many bytes of memory this process's group may use; None where nothing limits it."""
    limits = []
    for directory in _directories("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (value := _first(directory / name)).isdigit() and int(value) < NO_LIMIT:
                limits.append(int(value))
    return min(limits, default=None)


def _directories(controller: str) -> Iterator[Path]:
    """Yield the directories of this process's group and of those above it: each of them limits it."""
    for line in _lines(MEMBERSHIP):
        _, names, place = [*line.split(":", 2), "", ""][:3]
        if names and controller not in names.split(","):
            continue
        mounted = ROOT / controller if names else ROOT  # a name: version 1
        group = mounted / place.strip("/")
        yield from (directory for directory in (group, *group.parents) if directory.is_relative_to(mounted))


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _first(path: Path) -> str:
    return next(iter(_words(path)), "")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
