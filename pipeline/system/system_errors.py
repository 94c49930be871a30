"""Errors of the system: they say nothing about the bytes of a file, and each has a line of its own.

A file is called damaged only if its bytes differ from a digest or a format. A limit on open files, a missing
permission, too little memory, a package that cannot be imported: sound files meet them too.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.errors import DistillError, one_line

# a file that is absent, is not a file, or ends before its format says
_OF_THE_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EINVAL)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_AGAIN = "then run the same command again"
_ELSEWHERE = "Make room or name another directory"
_REMEDIES = dict.fromkeys((*_NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM), _ELSEWHERE)
_REMEDIES |= dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR), _ELSEWHERE)
_REMEDIES |= dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "Name another directory")
_REMEDIES |= dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit, as with ulimit -n 65536")
_REMEDIES[errno.ENOMEM] = "Free some memory"
_REMEDIES[errno.EIO] = "Check the disk"
_REMEDIES[errno.ENOENT] = "Check the path"


def error_number(error: BaseException) -> int | None:
    """Return the system's number of an error, also where a library has it in its text alone; None without one."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    match = re.search(r"\bos error (\d+)\)|\berrno = (\d+)", str(error))  # safetensors; HDF5
    return int(match[1] or match[2]) if match else None


def reason_of(error: BaseException) -> str:
    """Return the reason of an error in the system's words, even where a library has its own."""
    number = error_number(error)
    return os.strerror(number) if number else one_line(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the memory of this machine, or of its GPU, was not enough."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )


def is_of_system(error: BaseException) -> bool:
    """Return whether an error met while a file was read says nothing about the bytes of the file."""
    if isinstance(error, ImportError | UnicodeEncodeError) or is_out_of_memory(error):
        return True
    number = error_number(error)
    if number is None and isinstance(error, FileNotFoundError):
        return os.path.exists(_named(error))  # safetensors says so of every file that it cannot open
    return number is not None and number not in _OF_THE_FILE


def _named(error: BaseException) -> str:
    """Return the path at the end of a text of safetensors."""
    return str(error).partition(": ")[2]


def raise_if_of_system(error: BaseException) -> None:
    """Raise the error itself if it says nothing about the bytes of a file; return where the file is to blame.

    For handlers that call a file damaged. A library's error with a number of the system becomes an OSError.
    """
    if not is_of_system(error):
        return
    number = error_number(error)
    if number is None and isinstance(error, FileNotFoundError):
        with open(_named(error), "rb"):  # which raises what the system says
            number = errno.EMFILE
    if number is not None and getattr(error, "errno", None) is None:
        name = _named(error) if isinstance(error, FileNotFoundError) else None
        raise OSError(number, os.strerror(number), name) from error
    raise error


@contextmanager
def refusing(refusal: Callable[[Exception], DistillError]) -> Iterator[None]:
    """Raise what `refusal` makes of an error of a library; errors of the system and of this program stay as they are.

    For code of others that may raise anything, as each architecture has its own demands.
    """
    try:
        yield
    except DistillError:
        raise
    except Exception as error:
        raise_if_of_system(error)
        raise refusal(error) from error


def advice(error: BaseException) -> str | None:
    """Return one line, the fact and the next step, or None for an error that is not the system's."""
    if is_out_of_memory(error):
        return (
            f"the memory is not enough ({one_line(error) or 'out of memory'}). Free some memory, or use smaller batches"
        )
    if isinstance(error, ImportError):
        return f"a package could not be imported ({one_line(error)}). Reinstall this program with its packages"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return f"the system allows no more threads. Raise the limit, as with ulimit -u unlimited, {_AGAIN}"
    if isinstance(error, UnicodeEncodeError):
        return f"{one_line(ascii(error.object), 100)} cannot be written as UTF-8. Rename it, {_AGAIN}"
    if not isinstance(error, OSError) or error.errno in (None, errno.EPIPE):
        return None
    remedy = _REMEDIES.get(error.errno, "Check the disk and the network")
    reason = one_line(error.strerror or os.strerror(error.errno))
    return f"{one_line(error.filename or 'the disk')}: {reason}. {remedy}, {_AGAIN}"
