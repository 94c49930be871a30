"""The directory of a run: log.jsonl, a checkpoint while it is unfinished, model/, predictions, run.json written last.

A checkpoint is one safetensors file: weights, optimizer moments and the best weights so far, with the training state in
its header as JSON. It is replaced by rename, so the last complete one is always there.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.identity import different_fields
from pipeline.errors import BadRun, BusyRun
from pipeline.system.files import is_temporary, read_json, remove, write_directory, write_file, write_json
from pipeline.system.lease import Lease, directory_lease, is_free, leave_directory
from pipeline.system.system_errors import raise_if_of_system, reason_of
from pipeline.training.card import CARD, model_card
from pipeline.training.provenance import environment
from pipeline.training.run_reader import (
    CHECKPOINT,
    LOG,
    MODEL,
    PREDICTIONS,
    RUN,
    STARTED,
    Recorded,
    as_recorded,
    checkpoint_step,
    read_log,
)
from pipeline.training.trackers.tracked_run import forget_trackers
from pipeline.training.tracking import Tracking, tracked_run

_OF_SAFETENSORS = re.compile(r"\.tmp\w{6}")  # what save_file writes to before it renames


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    return "; ".join(
        line for section in ("config", "inputs") for line in different_fields(ours[section], theirs.get(section, {}))
    )


class RunDirectory:
    """The directory of one run, identified by the options that decide its result and by the digests of its inputs."""

    def __init__(self, path: Path, command: str, config: Mapping[str, Any], inputs: Mapping[str, Any]):
        self.path = path
        self.key: dict[str, Any] = {"command": command, "config": dict(config), "inputs": dict(inputs)}
        self.lease: Lease | None = None
        self.tracking = Tracking()

    def track(self, tracker: str | None, project: str, group: str | None) -> None:
        """Send the log and the result to a tracker too (None: to none), as a run of this project and group."""
        if tracker is not None:
            self.tracking = Tracking(tracker, tracked_run(self.path, self.key, project, group))

    def finished(self, kind: type[Recorded]) -> Recorded | None:
        """Return the result of this run if it is complete; None if it is to be started or resumed.

        Raises `BadRun` if the directory holds another run or something else. A run that ended before it left a
        checkpoint or a line in its log, as one whose first step failed, does not keep others from the directory.
        """
        if self._is_barren():
            return None
        for name in (RUN, STARTED):
            file = self.path / name
            if not file.is_file():
                continue
            try:
                record = read_json(file)
                command = record["command"]
                differences = _differences(self.key, record)
            except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
                raise_if_of_system(error)
                raise BadRun(f"{file} is damaged. Remove {self.path}, or choose another --out") from error
            if command != self.key["command"]:
                raise BadRun(f"{self.path} holds a run of {command}. Choose another --out")
            if differences:
                raise BadRun(f"{self.path} holds another run ({differences}). Choose another --out, or remove it")
            if name == STARTED:
                return None
            way_on = f"Move {self.path} away, or choose another --out"
            result = as_recorded(kind, record.get("result"), file, way_on)
            return replace(result, out=str(self.path))  # type: ignore[type-var]  # it may have been moved
        if not is_free(self.path):
            raise BadRun(f"{self.path} exists and is not a run. Choose another --out")
        return None

    def _is_barren(self) -> bool:
        """Return whether a run was started here and there is nothing of it to lose."""
        results = (RUN, MODEL, PREDICTIONS, CHECKPOINT)
        return (
            (self.path / STARTED).is_file()
            and not any(os.path.lexists(self.path / name) for name in results)
            and not self.log_bytes()
        )

    @contextmanager
    def claimed(self, accelerator: Any, resume: bool) -> Iterator[None]:
        """Keep other processes out of the directory. The main process of a training claims it, the others wait.

        Raises `BusyRun` if another process does, `BadRun` for an unfinished run unless it is to be resumed.
        """
        if not accelerator.is_main_process:
            accelerator.wait_for_everyone()
            yield
            return
        lease = directory_lease(self.path)
        try:
            holder = lease.acquire()
        except OSError as error:
            raise BadRun(f"{self.path} cannot be written ({error.strerror}). Choose another --out") from error
        if holder is not None:
            raise BusyRun(f"{self.path} is being trained by {holder}. Wait for it, or choose another --out")
        self.lease = lease
        try:
            if (self.path / RUN).is_file():
                raise BusyRun(f"{self.path} was finished by another process just now. Run the same command again")
            self._begin(resume)
            accelerator.wait_for_everyone()
            yield
        finally:
            self.tracking.close()
            self.lease = None
            leave_directory(lease)

    def _begin(self, resume: bool) -> None:
        started = self.path / STARTED
        for leftover in self.path.glob(".*"):
            if is_temporary(leftover) or _OF_SAFETENSORS.fullmatch(leftover.name):  # of a killed call
                remove(leftover)
        if started.is_file() and not self._is_barren():
            if not resume:
                raise BadRun(
                    f"{self.path} holds this run, unfinished. Add --resume to go on with it, or choose another --out"
                )
            return
        forget_trackers(self.path)
        write_json(started, self.key)

    def log(self, lines: list[dict[str, Any]]) -> None:
        """Append lines to log.jsonl."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        self.tracking.log(lines)

    def start_tracking(self) -> None:
        """Start the tracker, and send what the log has and it lacks. Raises `BadTracker` if it does not start."""
        if self.tracking.name is not None:
            self.tracking.start(read_log(self.path))

    def log_bytes(self) -> int:
        """Return the size of log.jsonl."""
        path = self.path / LOG
        return path.stat().st_size if path.exists() else 0

    def _check_lease(self) -> None:
        """Raise `BusyRun` if another process took the directory over while this one was silent."""
        if self.lease is not None and not self.lease.is_mine():
            raise BusyRun(
                f"{self.path} was taken over by another process while this one was silent. Wait for it, or choose "
                "another --out"
            )

    def save_checkpoint(self, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write the checkpoint. Raises `BadRun` for a disk that refuses, `BusyRun` where another process took over."""
        self._check_lease()
        from safetensors.torch import save_file

        header = {"position": json.dumps({**state, "log_bytes": self.log_bytes()})}
        with self._writing():
            write_file(self.path / CHECKPOINT, lambda temporary: save_file(dict(tensors), temporary, metadata=header))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the disk refuses into `BadRun`."""
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, SafetensorError) as error:
            raise BadRun(
                f"{self.path} cannot be written ({reason_of(error)}). Make room, then add --resume to go on"
            ) from error

    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint."""
        return (self.path / CHECKPOINT).is_file()

    def load_checkpoint(self, cut_log: bool = True) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return tensors and state of the checkpoint, None without one; `cut_log`: the log is cut back to it."""
        from safetensors import SafetensorError, safe_open

        path = self.path / CHECKPOINT
        if not path.is_file():
            if cut_log:
                (self.path / LOG).unlink(missing_ok=True)
            return None
        try:
            with safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()["position"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise_if_of_system(error)
            raise BadRun(f"{path} is damaged. Remove it to start this run again with --resume") from error
        if cut_log and (self.path / LOG).exists():
            with (self.path / LOG).open("r+b") as log:
                log.truncate(state["log_bytes"])
        return tensors, state

    def save_model(self, model: Any, save_tokenizer: Callable[[Path], object], card: str) -> None:
        """Write model/ as transformers reads it, with its card; `save_tokenizer` is called with the directory."""

        def write(directory: Path) -> None:
            model.save_pretrained(directory)
            save_tokenizer(directory)
            (directory / CARD).write_text(card, encoding="utf-8")

        write_directory(self.path / MODEL, write)

    def complete(
        self,
        learner: Any,
        save_tokenizer: Callable[[Path], object],
        predictions: Mapping[str, np.ndarray],
        result: Any,
        record: Mapping[str, Any],
    ) -> None:
        """Write the learner's model, its stored logits on each dev split [n, C], and run.json; then it is complete.

        Every process of the training calls it, and the first one writes. Raises `BadRun` for a disk that refuses.
        """
        from safetensors.numpy import save_file

        accelerator = learner.accelerator
        if accelerator.is_main_process:
            self._check_lease()
            run = {**self.key, **record, "environment": environment(), "result": vars(result)}
            with self._writing():
                model = accelerator.unwrap_model(learner.model, keep_fp32_wrapper=False)
                self.save_model(model, save_tokenizer, model_card(run))
                write_file(self.path / PREDICTIONS, lambda temporary: save_file(dict(predictions), temporary))
                write_json(self.path / RUN, run)
            for name in (CHECKPOINT, STARTED):
                (self.path / name).unlink(missing_ok=True)
            self.tracking.finish(vars(result))
        accelerator.wait_for_everyone()


def forget_checkpoint(path: Path, step: int) -> None:
    """Remove the checkpoint of a run that does not go on, unless it is being trained or is further than `step`.

    A checkpoint further than that belongs to another sweep. What the disk refuses stays.
    """
    if not (path / CHECKPOINT).is_file():
        return
    lease = directory_lease(path)
    with contextlib.suppress(OSError):
        if lease.acquire() is None:
            try:
                if checkpoint_step(path) <= step:
                    (path / CHECKPOINT).unlink(missing_ok=True)
            finally:
                leave_directory(lease)
