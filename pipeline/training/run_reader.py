"""Reading the runs of others: the record of a finished run, its predictions, its log, and how far it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import BadRun
from pipeline.system.files import read_json

RUN, STARTED, LOG = "run.json", "started.json", "log.jsonl"
MODEL, CHECKPOINT, PREDICTIONS = "model", "checkpoint.safetensors", "predictions.safetensors"


def checkpoint_step(path: Path) -> int:
    """Return the step of the checkpoint of a run, from its header alone; 0 without one that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path / CHECKPOINT, framework="np") as file:
            return int(json.loads(file.metadata()["position"])["step"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return 0


def read_curve(out: Path) -> tuple[tuple[tuple[int, float], ...], int]:
    """Return (step, score) of each evaluation in a run's log, and the last logged step; nothing without a log."""
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


def read_predictions(path: Path) -> dict[str, np.ndarray]:
    """Return the stored logits [n, C] of a finished run on each dev split. Raises `BadRun` where there are none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path / PREDICTIONS))
    except (OSError, SafetensorError) as error:
        raise BadRun(f"{path / PREDICTIONS} could not be read ({error}). Train the run again") from error


def read_run(path: Path) -> dict[str, Any]:
    """Return run.json of a finished run. Raises `BadRun` for a directory without one."""
    if not (path / RUN).is_file():
        if (path / STARTED).is_file():
            raise BadRun(f"{path} is unfinished: run its command again with --resume")
        raise BadRun(
            f"{path} is not a run directory (no run.json). Pass the --out directory of finetune-teacher or "
            "train-student"
        )
    try:
        value = read_json(path / RUN)
        if not isinstance(value, dict) or not {"command", "config", "result"} <= set(value):
            raise ValueError("fields are missing")
    except (OSError, ValueError) as error:
        raise BadRun(f"{path / RUN} is damaged ({error}). Train the run again") from error
    return value
