"""Child processes of this program: each ends with its parent, and has a GPU of its own where there are enough."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


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
