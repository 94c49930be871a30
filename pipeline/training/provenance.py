"""Provenance: the versions and the machine that made a file, for manifests, run.json and results."""

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pipeline.config.options import PLACES, Options
from pipeline.models.accelerator import cpu_capabilities
from pipeline.system.formatting import public_place
from pipeline.system.launcher import num_processes

OptionsType = TypeVar("OptionsType", bound=Options)
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "pyarrow", "h5py")


def environment() -> dict[str, Any]:
    """Return package versions, kind of processor, threads, processes and time (UTC)."""
    import torch

    processor = cpu_capabilities().get("cpu_name") or platform.machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor}, {os.cpu_count()} cores"
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git_commit": git_commit(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": num_processes(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_commit() -> str | None:
    """Return the commit that this program runs from, with '+' where files differ from it; None outside a checkout."""
    root = Path(__file__).parents[2]
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        top = subprocess.run([*command[:3], "rev-parse", "--show-toplevel"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() if Path(top.stdout.strip()) == root else None


def shareable(config: OptionsType) -> OptionsType:
    """Return the configuration as others may see it.

    Of a path outside the working directory only the last name is left, of a URL neither user nor password.
    """
    changed = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value and field.metadata["metavar"] in PLACES:
            is_one = isinstance(value, str)
            changed[field.name] = shareable_place(value) if is_one else tuple(map(shareable_place, value))
    return dataclasses.replace(config, **changed)


def shareable_place(place: str) -> str:
    """Return a path or URL as others may see it (see `shareable`)."""
    if "://" in place:
        return public_place(place)
    path = Path(place)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    outside = path.is_absolute() or ".." in path.parts or place.startswith("~")
    return path.name if outside else str(path)
