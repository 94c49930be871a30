"""Every way in which a user's input can be refused, and the one line that each of them becomes."""

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
    """Return a command of this program as a line for a shell: `shell_line("cache", "ls")` is `python cli.py cache ls`."""
    return f"{program()} {shlex.join(map(str, words))}"


class DistillError(Exception):
    """A problem told in one line: the fact, then the next command. The command line exits with `exit_code`."""

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is to another process, without the arguments that made it."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


def one_line(reason: object, limit: int = 200) -> str:
    """A reason from elsewhere as part of that line: what is not printable (a terminal would obey it) is left out."""
    text = " ".join(str(reason)[: 4 * limit].split())
    return "".join(c for c in text if c.isprintable())[:limit]


class BadOption(DistillError):
    """An option's value, or a combination of options, that cannot be meant."""


class BadRows(DistillError):
    """Rows of a task that cannot be read or that do not fit the task."""


class BadModel(DistillError):
    """A checkpoint that cannot be loaded, does not fit the task, or cannot be cut."""


class BadCache(DistillError):
    """A directory that is no cache, or a cache that is unfinished, damaged or of another identity."""


class DamagedFile(BadCache):
    """A file of a cache that is not what its manifest says. `cache` is where the cache is, `reason` what is wrong."""

    def __init__(self, file: object, reason: object, cache: object):
        self.reason = one_line(getattr(reason, "strerror", None) or reason)
        repair = shell_line("cache", "verify", cache, "--repair")
        super().__init__(f"{file} is damaged ({self.reason}). Run: {repair}")


class BadRun(DistillError):
    """A run directory that is missing, unfinished, or holds another run."""


class BusyRun(BadRun):
    """A run directory in which another process is training."""


class HubUnreachable(DistillError):
    """A model or data set has to come from the hub, and the hub does not answer."""


class BadPlace(DistillError):
    """A URL that cannot be reached, read or written."""


class MissingExtra(DistillError):
    """An optional package is needed; the message names the extra that brings it."""


class TrainingDiverged(DistillError):
    """A loss that is no longer a finite number."""


class ProcessEnded(DistillError):
    """A process of this program that ended in the middle of its work, by itself or killed."""


class Interrupted(DistillError):
    """Training was stopped by a signal after its checkpoint was written."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number
