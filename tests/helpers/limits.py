"""Limits of the system, for this process."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def open_files_left(count: int) -> Iterator[None]:
    """Let this process open `count` more files."""
    free = [os.dup(0) for _ in range(count + 1)]
    for descriptor in free:
        os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
