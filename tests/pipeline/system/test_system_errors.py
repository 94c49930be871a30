"""Errors that say nothing about the bytes of a file, and the line of each."""

import errno
import os

import h5py
import pytest
from safetensors import SafetensorError, safe_open

from pipeline.errors import BadModel, BadRows
from pipeline.system.system_errors import advice, error_number, is_of_system, raise_if_of_system, reason_of, refusing


def os_error(number, name="data/toy/train/00000.arrow"):
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    "error",
    [
        *(os_error(number) for number in (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ENOMEM)),
        SafetensorError("IO error: Too many open files (os error 24)"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        ModuleNotFoundError("Could not import module 'BertModel'. Are this object's requirements defined correctly?"),
        UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed"),
    ],
)
def test_errors_of_the_system_are_raised_as_they_are(error):
    assert is_of_system(error)
    with pytest.raises((type(error), OSError)):
        raise_if_of_system(error)


@pytest.mark.parametrize(
    "error",
    [
        *(os_error(number) for number in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.EINVAL)),
        OSError("Unable to synchronously open file (file signature not found)"),
        SafetensorError("Error while deserializing header: header too large"),
        ValueError("its size is 7, not 8 bytes"),
        RecursionError(),
    ],
)
def test_errors_about_bytes_are_not(error):
    assert not is_of_system(error)
    raise_if_of_system(error)


def test_the_numbers_that_libraries_put_into_texts(tmp_path):
    with pytest.raises(OSError) as of_hdf5:
        h5py.File(tmp_path / "none.h5", "r")
    with pytest.raises(FileNotFoundError) as of_safetensors:
        safe_open(tmp_path / "none.safetensors", "np")
    assert error_number(of_hdf5.value) == errno.ENOENT and not is_of_system(of_safetensors.value)
    assert reason_of(SafetensorError("I/O error: No space left on device (os error 28)")) == "No space left on device"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            os_error(errno.EMFILE, "c/train/00000.arrow"),
            "c/train/00000.arrow: Too many open files. Raise the limit, as with ulimit -n 65536, then run the same "
            "command again",
        ),
        (
            os_error(errno.ENOTDIR, "store/columns/a"),
            "store/columns/a: Not a directory. Name another directory, then run the same command again",
        ),
        (os_error(errno.EIO, "a\nb\x1b"), "a b: Input/output error. Check the disk, then run the same command again"),
        (MemoryError(), "the memory is not enough (out of memory). Free some memory, or use smaller batches"),
        (
            ImportError("no module named x"),
            "a package could not be imported (no module named x). Reinstall this program with its packages",
        ),
        (
            RuntimeError("can't start new thread"),
            "the system allows no more threads. Raise the limit, as with ulimit -u unlimited, then run the same "
            "command again",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), None),
        (ValueError("a defect"), None),
    ],
)
def test_each_has_a_line(error, line):
    assert advice(error) == line


def test_refusing_keeps_errors_of_the_system_and_of_this_program():
    def refusal(error: Exception) -> BadModel:
        return BadModel(f"refused: {error}")

    for error, expected, text in (
        (ValueError("odd"), BadModel, "refused: odd"),
        (BadRows("rows"), BadRows, "rows"),
        (OSError(errno.ENOSPC, "full"), OSError, "[Errno 28] full"),
        (MemoryError("much"), MemoryError, "much"),
    ):
        with pytest.raises(expected) as raised, refusing(refusal):
            raise error
        assert str(raised.value) == text
    with pytest.raises(KeyboardInterrupt), refusing(refusal):
        raise KeyboardInterrupt
