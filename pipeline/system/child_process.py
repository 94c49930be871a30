"""Child processes of this program: each ends with its parent, and has a GPU of its own where there are enough."""

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait
from typing import Any

# What takes seconds to import. Not this program: the server may find another copy of it than the one that runs.
_PRELOADED = ["accelerate", "sklearn.metrics", "torch", "transformers"]


def process_context() -> Any:
    """Return the multiprocessing context of new processes that compute.

    On Linux they are forks of a server process that has imported torch once for all, and a new process in place of one
    that died starts at once. The server and its forks end with this process.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    multiprocessing.set_forkserver_preload(_PRELOADED)
    return multiprocessing.get_context("forkserver")


def end_with_parent() -> None:
    """Start a thread that ends this child process when its parent has ended, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def select_gpu(index: int) -> bool:
    """Make GPU `index` (modulo their number) the device of this process; return whether this machine has any."""
    import torch

    if not torch.cuda.is_available():
        return False
    torch.cuda.set_device(index % torch.cuda.device_count())
    return True
