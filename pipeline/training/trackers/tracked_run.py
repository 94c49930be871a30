"""A run as trackers show it, and what is asked of a tracker: to start it, to go on where it was, and to end it.

A tracker object is of one run, and all of its methods are called in one thread: MLflow's active run is a thread's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pipeline.system.files import read_json, write_json

RECORD = "tracking.json"  # beside the run: its name at each tracker, by which a resumed run is found again
EVENTS = "events.out.tfevents."  # the first letters of the names of TensorBoard's files
FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"
Scalars = Mapping[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker shows it. `config` has one value per name; `group` names what it is compared with."""

    path: Path
    project: str
    config: Mapping[str, Any]
    group: str | None = None

    @property
    def name(self) -> str:
        """The name that it is shown by."""
        return self.path.absolute().name

    def recorded_id(self, tracker: str) -> str | None:
        """Return its name at a tracker; None if that does not have it yet."""
        try:
            value = read_json(self.path / RECORD)[tracker]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return value if isinstance(value, str) and value.isalnum() else None

    def record_id(self, tracker: str, value: str) -> None:
        """Record its name at a tracker."""
        try:
            record = dict(read_json(self.path / RECORD))
        except (OSError, ValueError, TypeError):
            record = {}
        write_json(self.path / RECORD, record | {tracker: value})


def forget_trackers(path: Path) -> None:
    """Remove what trackers left in a directory where another run starts now: that is another run at them too."""
    for file in (path / RECORD, *path.glob(f"{EVENTS}*")):
        file.unlink(missing_ok=True)


class Tracker(Protocol):
    """The run at a tracker."""

    package: ClassVar[str]
    extra: ClassVar[str | None]  # that installs the package
    advice: ClassVar[str]  # where it does not start

    def __init__(self, run: TrackedRun): ...

    @staticmethod
    def prepare(project: str) -> None:
        """Make what the runs of a project have in common, before several of them start at once."""
        ...

    def start(self, last: int) -> None:
        """Start it, or go on with it after step `last`; raise whatever the tracker raises."""
        ...

    def has(self, name: str, step: int) -> bool:
        """Return whether it has this value already, from before it was resumed."""
        ...

    def log(self, values: Scalars, step: int) -> None:
        """Send the values of a step."""
        ...

    def end(self, state: str) -> None:
        """End it as finished, stopped or failed."""
        ...
