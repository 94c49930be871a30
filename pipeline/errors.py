"""Errors that a user can meet, each of which becomes one line on the command line."""

import copyreg
import shlex
import sys
from pathlib import Path
from typing import Any

OTHER_BYTES = "its bytes are not those of the manifest"


def program() -> str:
    """Return this program as the user called it: `pkd`, or `python cli.py`."""
    name = Path(sys.argv[0]).name
    return name if name == "pkd" else "python cli.py"


def shell_line(*words: object) -> str:
    """Return a shell line that calls this program: `shell_line("cache", "ls")` is `python cli.py cache ls`."""
    return f"{program()} {shlex.join(map(str, words))}"


class DistillError(Exception):
    """A problem in one line: the fact, then the next command. The command line exits with `exit_code`."""

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the error to another process as it is, without the arguments that created it."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


def one_line(reason: object, limit: int = 200) -> str:
    """Return a foreign error's reason as part of one line, without control characters, which a terminal would obey."""
    text = " ".join(str(reason)[: 4 * limit].split())
    return "".join(c for c in text if c.isprintable())[:limit]


class BadOption(DistillError):
    """An option's value, or a combination of options, that makes no sense."""


class BadRows(DistillError):
    """Rows of a task that cannot be read or that do not fit the task."""


class BadModel(DistillError):
    """A checkpoint that cannot be loaded, does not fit the task, or cannot be cut."""


class BadCache(DistillError):
    """A directory that is not a cache, or a cache that is unfinished, damaged or of another identity."""


class DamagedCache(BadCache):
    """A cache with bytes that differ from a digest or a format."""


class DamagedFile(DamagedCache):
    """A file of a cache that differs from its manifest. `cache` is the cache's location, `reason` what is wrong."""

    def __init__(self, file: object, reason: object, cache: object):
        self.reason = one_line(getattr(reason, "strerror", None) or reason)
        repair = shell_line("cache", "verify", cache, "--repair")
        super().__init__(f"{file} is damaged ({self.reason}). Run: {repair}")


class LinkedFile(BadCache):
    """A link in place of a file of a cache. Its bytes may be right, and they can change behind the cache's back."""

    def __init__(self, file: object, cache: object):
        copy = shlex.join(["cp", "-rL", str(cache), f"{str(cache).rstrip('/')}-copy"])
        super().__init__(f"{file} is a link, and a cache holds its files itself. Copy it, and use the copy: {copy}")


class BadRun(DistillError):
    """A run directory that is missing, unfinished, or holds another run."""


class BusyRun(BadRun):
    """A run directory in which another process is training."""


class LeaseLost(DistillError):
    """A lease that another process took over, as after a sleep of this machine."""


class HubUnreachable(DistillError):
    """A model or data set must be downloaded from the hub, and the hub does not answer."""


class BadPlace(DistillError):
    """A URL that cannot be reached, read or written."""


class MissingExtra(DistillError):
    """An optional package that is needed and not installed; the message names the extra that brings it."""


class BadTracker(DistillError):
    """A tracker of --track that does not start."""


class TrainingDiverged(DistillError):
    """A loss that is no longer a finite number."""


class ProcessEnded(DistillError):
    """A process of this program that ended in the middle of its work, on its own or killed."""


class Interrupted(DistillError):
    """A training that a signal stopped, after its checkpoint was written."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number
