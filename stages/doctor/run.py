"""Check the machine and the installation: what was found, and what to do about what was not."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from pipeline.config.doctor import DoctorConfig
from pipeline.system.cpu import require_single_process
from stages.doctor.checks import PROBLEM, Check, as_line, checks_of, in_child
from stages.doctor.devices import devices
from stages.doctor.packages import extras, packages
from stages.doctor.places import disks, store
from stages.doctor.processor import memory, open_files, processor
from stages.doctor.surroundings import hub, variables

CHECKS: dict[str, Callable[[], Iterable[Check]]] = {  # in the order in which they are printed
    "packages": packages,
    "processor": processor,
    "memory": memory,
    "torch": devices,
    "extras": extras,
    "hub": hub,
    "store": store,
    "disk": disks,
    "open files": open_files,
    "variables": variables,
}
LOADING = ("packages", "torch")  # load libraries of others, in a process of its own


@dataclass(frozen=True)
class DoctorResult:
    """Every check, and the number of those that are problems."""

    command: str
    seconds: float
    checks: list[Check]
    problems: int


def run(config: DoctorConfig) -> DoctorResult:
    """Print a line for each check as it is made, and return all of them. A check that fails does not end the others."""
    require_single_process("doctor")
    started = time.monotonic()
    checks = []
    for name, look in CHECKS.items():
        for check in checks_of(name, partial(in_child, name, look) if name in LOADING else look):
            _print(as_line(check))
            checks.append(check)
    problems = sum(check.state == PROBLEM for check in checks)
    return DoctorResult("doctor", round(time.monotonic() - started, 2), checks, problems)


def _print(line: str) -> None:
    """Print a line as this terminal can, where paths may have any bytes; nothing where bars and notes are off."""
    encoding = sys.stdout.encoding or "utf-8"
    line = line.encode(encoding, "replace").decode(encoding)
    try:
        from pipeline.system.progress import show
    except ImportError:  # of tqdm, which is one of the checks
        print(line, flush=True)
    else:
        show(line)
