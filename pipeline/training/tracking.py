"""A run sent to a tracker while it is trained: what log.jsonl has, and the result.

A thread sends it. The training does not wait for a server, and goes on without a tracker that fails.
"""

import contextlib
import queue
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import BadTracker, one_line
from pipeline.system.progress import note
from pipeline.training.trackers.table import TRACKERS, check_tracker
from pipeline.training.trackers.tracked_run import FINISHED, STOPPED, TrackedRun, Tracker

START_SECONDS, END_SECONDS = 120, 60  # that a tracker may take to start, and to take what is left at the end
NAME_LENGTH = 250  # as long as a name may be at MLflow
Line = Mapping[str, Any]


class Tracking:
    """One run at one tracker. Without a tracker (`name` None) nothing happens."""

    def __init__(self, name: str | None = None, run: TrackedRun | None = None):
        self.name, self.run = name, run
        self.state = STOPPED
        self.step = 0  # of the last line
        self._waiting: queue.SimpleQueue[tuple[dict[str, float], int] | None] = queue.SimpleQueue()  # None: the end
        self._thread: threading.Thread | None = None

    def start(self, lines: Sequence[Line]) -> None:
        """Start the tracker, or go on where it was, and send those of `lines`, the run's log so far, that it lacks.

        Raises `BadTracker` for a tracker that does not start.
        """
        if self.name is None or self.run is None:
            return
        self.step = max((line["step"] for line in lines), default=0)
        started: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        thread = threading.Thread(target=self._serve, args=(TRACKERS[self.name](self.run), started), daemon=True)
        thread.start()
        try:
            error = started.get(timeout=START_SECONDS)
        except queue.Empty:
            error = TimeoutError(f"no answer within {START_SECONDS} s")
        if error is not None:
            raise _not_started(self.name, error) from error
        self._thread = thread
        self.log(lines)

    def log(self, lines: Iterable[Line]) -> None:
        """Send lines of the log."""
        if self._thread is None:
            return
        for line in lines:
            self.step = line["step"]
            self._waiting.put((scalars(line), self.step))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Send the result of the run, which is finished then."""
        self.state = FINISHED
        if self._thread is not None:
            self._waiting.put((dict(_flat("result", result)), self.step))

    def close(self) -> None:
        """End the run at the tracker, once that has everything; wait for it a minute at most."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._waiting.put(None)
        thread.join(END_SECONDS)
        if thread.is_alive():
            _note_once(f"--track {self.name} did not take everything within {END_SECONDS} s: the rest is left out")

    def _serve(self, tracker: Tracker, started: "queue.SimpleQueue[Exception | None]") -> None:
        """Start the tracker and send what waits, up to the end or the first failure."""
        try:
            tracker.start(self.step)
        except Exception as error:  # whatever a tracker raises
            started.put(error)
            return
        started.put(None)
        try:
            while (waiting := self._waiting.get()) is not None:
                values, step = waiting
                if values and not tracker.has(next(iter(values)), step):
                    tracker.log(values, step)
            tracker.end(self.state)
        except Exception as error:
            _note_once(f"--track {self.name} failed ({_reason(error)}): the training goes on without it")
            with contextlib.suppress(Exception):
                tracker.end(self.state)


def prepare_tracker(name: str | None, project: str) -> None:
    """Prepare a tracker for several runs at once. Raises `MissingExtra`, or `BadTracker` if it does not answer."""
    check_tracker(name)
    if name is None:
        return
    try:
        TRACKERS[name].prepare(project)
    except Exception as error:
        raise _not_started(name, error) from error


def _not_started(name: str, error: Exception) -> BadTracker:
    return BadTracker(f"--track {name} did not start ({_reason(error)}). {TRACKERS[name].advice}, or leave --track out")


def scalars(line: Line) -> dict[str, float]:
    """Return the values of a line of log.jsonl by name: train/loss, dev/accuracy; nothing of an unknown kind."""
    values = {name: value for name, value in line.items() if name not in ("kind", "step")}
    if line["kind"] == "train":
        return dict(_flat("train", values))
    metrics = line.get("metrics")
    return dict(_flat(_part(line.get("split")), metrics)) if isinstance(metrics, Mapping) else {}


def tracked_run(path: Path, key: Mapping[str, Any], project: str, group: str | None) -> TrackedRun:
    """Return a run with its configuration as run.json has it (`key`), one value per name."""
    inputs = {f"inputs.{_part(name)}": value for name, value in key["inputs"].items()}
    config = {"command": key["command"], **key["config"], **inputs, **({"group": group} if group else {})}
    return TrackedRun(path, _part(project), config, group)


def _flat(prefix: str, values: Mapping[Any, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers in nested objects, by the names on their way."""
    for key, value in values.items():
        name = f"{prefix}/{_part(key)}"
        if isinstance(value, Mapping):
            yield from _flat(name, value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name[:NAME_LENGTH], float(value)


def _part(key: object) -> str:
    """Return a part of a name with the letters that every tracker takes; names of classes have any."""
    part = re.sub(r"[^\w.\- :]", "_", str(key))
    return part if part.strip(". ") else part.replace(".", "_").replace(" ", "_") or "_"


def _reason(error: BaseException) -> str:
    """Return why a tracker failed, in one line, without the user and the password in its URL."""
    return f"{type(error).__name__}: {one_line(re.sub(r'//[^/@ ]*@', '//', str(error)))}"


@cache
def _note_once(text: str) -> None:
    note(text)
