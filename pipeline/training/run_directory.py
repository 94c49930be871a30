"""A run's directory: run.json written last, log.jsonl, model/, predictions, and a checkpoint while it is unfinished.

A checkpoint is one safetensors file: weights, optimizer moments and the best weights so far, with the position in
its header as JSON. It is replaced by rename, so the last whole one is always there.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import BadRun, BusyRun, one_line
from pipeline.system.files import is_temporary, read_json, remove, write_directory, write_file, write_json
from pipeline.system.lease import Lease, directory_lease, is_free, leave_directory
from pipeline.training.provenance import environment

RUN, STARTED, LOG = "run.json", "started.json", "log.jsonl"
_OF_SAFETENSORS = re.compile(r"\.tmp\w{6}")  # what save_file writes to before it renames
MODEL, CHECKPOINT, PREDICTIONS = "model", "checkpoint.safetensors", "predictions.safetensors"


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    parts = []
    for section in ("config", "inputs"):
        a, b = theirs.get(section, {}), ours[section]
        parts += [f"{k}: {a.get(k)} ≠ {b.get(k)}" for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)]
    return "; ".join(parts)


class RunDirectory:
    """The directory of one run, known by its canonical `config` and by the digests of its `inputs`."""

    def __init__(self, path: Path, command: str, config: Mapping[str, Any], inputs: Mapping[str, Any]):
        self.path = path
        self.key = {"command": command, "config": dict(config), "inputs": dict(inputs)}
        self.lease: Lease | None = None

    def finished(self) -> dict[str, Any] | None:
        """The result of this very run if it is complete; None if it is to be done or resumed.

        Raises `BadRun` if the directory holds another run or something else.
        """
        for name in (RUN, STARTED):
            file = self.path / name
            if not file.is_file():
                continue
            try:
                there = read_json(file)
                command = there["command"]
                differences = _differences(self.key, there)
            except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
                raise BadRun(f"{file} is damaged. Remove {self.path}, or choose another --out") from error
            if command != self.key["command"]:
                raise BadRun(f"{self.path} holds a run of {command}. Choose another --out")
            if differences:
                raise BadRun(f"{self.path} holds another run ({differences}). Choose another --out, or remove it")
            return there["result"] if name == RUN else None
        if not is_free(self.path):
            raise BadRun(f"{self.path} exists and is no run. Choose another --out")
        return None

    @contextmanager
    def claimed(self, accelerator: Any, resume: bool) -> Iterator[None]:
        """Meanwhile nobody else trains in the directory. Its first process claims it, the others wait for that.

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
            self.lease = None
            leave_directory(lease)

    def _begin(self, resume: bool) -> None:
        started = self.path / STARTED
        for leftover in self.path.glob(".*"):
            if is_temporary(leftover) or _OF_SAFETENSORS.fullmatch(leftover.name):  # of a killed call
                remove(leftover)
        if started.is_file():
            if not resume:
                raise BadRun(
                    f"{self.path} holds this run, unfinished. Add --resume to go on with it, or choose another --out"
                )
            return
        write_json(started, self.key)

    def log(self, lines: list[dict[str, Any]]) -> None:
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, allow_nan=False) + "\n" for line in lines)

    def log_bytes(self) -> int:
        path = self.path / LOG
        return path.stat().st_size if path.exists() else 0

    def _check_lease(self) -> None:
        """Raises `BusyRun` if another process took the directory over while this one was silent."""
        if self.lease is not None and not self.lease.is_mine():
            raise BusyRun(
                f"{self.path} was taken over by another process while this one was silent. Wait for it, or choose "
                "another --out"
            )

    def save_checkpoint(self, tensors: Mapping[str, Any], position: Mapping[str, Any]) -> None:
        """Raises `BadRun` for a disk that refuses, `BusyRun` for a directory that is another process's by now."""
        self._check_lease()
        from safetensors.torch import save_file

        header = {"position": json.dumps({**position, "log_bytes": self.log_bytes()})}
        with self._writing():
            write_file(self.path / CHECKPOINT, lambda temporary: save_file(dict(tensors), temporary, metadata=header))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises `BadRun` for a disk that refuses."""
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise BadRun(f"{self.path} cannot be written ({reason}). Make room, then add --resume to go on") from error

    def has_checkpoint(self) -> bool:
        return (self.path / CHECKPOINT).is_file()

    def load_checkpoint(self, cut_log: bool = True) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and position of the checkpoint, None if there is none; `cut_log`: the log is cut back to it."""
        from safetensors import SafetensorError, safe_open

        path = self.path / CHECKPOINT
        if not path.is_file():
            if cut_log:
                (self.path / LOG).unlink(missing_ok=True)
            return None
        try:
            with safe_open(path, framework="pt") as file:
                position = json.loads(file.metadata()["position"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BadRun(f"{path} is damaged. Remove it to start this run again with --resume") from error
        if cut_log and (self.path / LOG).exists():
            with (self.path / LOG).open("r+b") as log:
                log.truncate(position["log_bytes"])
        return tensors, position

    def save_model(self, model: Any, save_tokenizer: Callable[[Path], object]) -> None:
        """model/ as transformers writes and reads it; `save_tokenizer` is called with the directory to write to."""

        def write(directory: Path) -> None:
            model.save_pretrained(directory)
            save_tokenizer(directory)

        write_directory(self.path / MODEL, write)

    def complete(
        self,
        learner: Any,
        save_tokenizer: Callable[[Path], object],
        logits: Mapping[str, np.ndarray],
        result: Any,
        record: Mapping[str, Any],
    ) -> None:
        """Write the learner's model, its logits on each dev split [n, C], and run.json; then the run is complete.

        Every process of the training calls it, and the first one writes. Raises `BadRun` for a disk that refuses.
        """
        from safetensors.numpy import save_file

        accelerator = learner.accelerator
        if accelerator.is_main_process:
            self._check_lease()
            run = {**self.key, **record, "environment": environment(), "result": vars(result)}
            with self._writing():
                self.save_model(accelerator.unwrap_model(learner.model, keep_fp32_wrapper=False), save_tokenizer)
                write_file(self.path / PREDICTIONS, lambda temporary: save_file(dict(logits), temporary))
                write_json(self.path / RUN, run)
            for name in (CHECKPOINT, STARTED):
                (self.path / name).unlink(missing_ok=True)
        accelerator.wait_for_everyone()


def checkpoint_step(path: Path) -> int:
    """Where the checkpoint of a run stands, by its header alone; 0 without one, or for one that cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path / CHECKPOINT, framework="np") as file:
            return int(json.loads(file.metadata()["position"])["step"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return 0


def read_curve(out: Path) -> tuple[tuple[tuple[int, float], ...], int]:
    """(step, score) of each evaluation that a run has logged, and its last logged step; nothing of one that is gone."""
    scores: dict[int, float] = {}
    last = 0
    try:
        lines = (out / LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return (), 0
    for line in lines:
        try:
            entry = json.loads(line)
            last = max(last, int(entry["step"]))
            if entry["kind"] in ("eval", "rung"):
                scores[int(entry["step"])] = float(next(iter(entry["metrics"].values())))
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
            continue  # half a line of a run that is being written
    return tuple(sorted(scores.items())), last


def forget_checkpoint(path: Path, step: int) -> None:
    """Remove the checkpoint of a run that does not go on, unless it is being trained, or stands behind `step`, where
    somebody else has left it. What the disk refuses stays.
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


def read_predictions(path: Path) -> dict[str, np.ndarray]:
    """Logits float32 [n, C] of a finished run on each dev split. Raises `BadRun` where they are not there."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path / PREDICTIONS))
    except (OSError, SafetensorError) as error:
        raise BadRun(f"{path / PREDICTIONS} cannot be read ({error}). Train the run again") from error


def read_run(path: Path) -> dict[str, Any]:
    """run.json of a finished run. Raises `BadRun`."""
    if not (path / RUN).is_file():
        if (path / STARTED).is_file():
            raise BadRun(f"{path} is unfinished: run its command again with --resume")
        raise BadRun(f"{path} is no run (it has no run.json). Name a directory that a training wrote")
    try:
        value = read_json(path / RUN)
        if not isinstance(value, dict) or not {"command", "config", "result"} <= set(value):
            raise ValueError("fields are missing")
    except (OSError, ValueError) as error:
        raise BadRun(f"{path / RUN} is damaged ({error}). Train the run again") from error
    return value
