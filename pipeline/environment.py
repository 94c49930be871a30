"""What made a file: versions and machine, for manifests, run.json and results."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

from pipeline.compute import cpu_capabilities

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "pyarrow", "h5py")


def environment() -> dict[str, Any]:
    """Package versions, kind of processor, threads, processes and time (UTC)."""
    import torch

    processor = cpu_capabilities().get("cpu_name") or platform.machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor}, {os.cpu_count()} cores"
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
