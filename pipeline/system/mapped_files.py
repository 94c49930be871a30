"""Files mapped into memory without keeping them open: a cache may have more shards than a process may open files.

Python's own `mmap` keeps a duplicate of the descriptor for as long as the mapping lives.
"""

import ctypes
import mmap
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FileState = tuple[int, ...]  # device, inode, size, mtime and ctime in ns
_FAILED = ctypes.c_void_p(-1).value


def file_state(status: os.stat_result) -> FileState:
    """Return the numbers that change when a file's bytes are changed or replaced."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@cache
def _library() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library


class Mapping:
    """A shared read-only mapping of `size` bytes of an open file; `numpy.asarray` views it as uint8.

    It ends with its last view. The descriptor may be closed at once. Raises OSError.
    """

    def __init__(self, descriptor: int, size: int):
        self.address: int | None = None
        self._library = _library()  # which a finalizer at the end of the program could no longer look up
        address = self._library.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address == _FAILED:
            raise _last_error()
        self.address, self.size = address, size
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (address, True)}

    def advise(self, advice: int, start: int, length: int) -> None:
        """Give the system advice on `length` bytes from `start`, the first of a page. Raises OSError."""
        assert self.address is not None
        if self._library.madvise(self.address + start, min(length, self.size - start), advice):
            raise _last_error()

    def __del__(self) -> None:
        if self.address is not None:
            self._library.munmap(self.address, self.size)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def open_mapping(path: Path) -> tuple[Mapping, FileState]:
    """Return the read-only mapping of a regular file, and its state. Raises OSError or ValueError, for links too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if not status.st_size:
            raise ValueError("it is empty")
        try:
            mapping = Mapping(descriptor, status.st_size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)
    return mapping, file_state(status)


def map_file(path: Path) -> tuple[np.ndarray, FileState]:
    """Return the bytes (uint8) of a regular file as a shared read-only view, and its state. See `open_mapping`."""
    mapping, state = open_mapping(path)
    return np.asarray(mapping), state
