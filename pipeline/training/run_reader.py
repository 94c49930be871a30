"""Reading the runs of others: the record of a finished run, its predictions, its log, and how far it is."""

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.cache.reader import Cache
from pipeline.errors import BadCache, BadRun, one_line
from pipeline.system.files import read_json
from pipeline.system.system_errors import raise_if_of_system

RUN, STARTED, LOG = "run.json", "started.json", "log.jsonl"
MODEL, CHECKPOINT, PREDICTIONS = "model", "checkpoint.safetensors", "predictions.safetensors"
Recorded = TypeVar("Recorded")


def checkpoint_step(path: Path) -> int:
    """Return the step of the checkpoint of a run, from its header alone; 0 without one, or where it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path / CHECKPOINT, framework="np") as file:
            return int(json.loads(file.metadata()["position"])["step"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise_if_of_system(error)
        return 0


def read_curve(out: Path) -> tuple[tuple[tuple[int, float], ...], int]:
    """Return (step, score) of each evaluation in a run's log, and the last logged step; nothing without a log."""
    scores: dict[int, float] = {}
    lines = read_log(out)
    for line in lines:
        if line["kind"] in ("eval", "rung"):
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, StopIteration):
                scores[line["step"]] = float(next(iter(line["metrics"].values())))
    return tuple(sorted(scores.items())), max((line["step"] for line in lines), default=0)


def read_log(out: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, without half a line of one that is being written; nothing without a log."""
    lines = []
    try:
        texts = (out / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for text in texts:
        try:
            line = json.loads(text)
            lines.append({**line, "step": int(line["step"]), "kind": str(line["kind"])})
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
    return lines


def read_predictions(path: Path) -> dict[str, np.ndarray]:
    """Return the stored logits [n, C] of a finished run on each dev split. Raises `BadRun` where there are none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path / PREDICTIONS))
    except (OSError, SafetensorError) as error:
        raise_if_of_system(error)
        raise BadRun(f"{path / PREDICTIONS} could not be read ({one_line(error)}). Train the run again") from error


def as_recorded(kind: type[Recorded], values: Any, file: Path, way_on: str) -> Recorded:
    """Return fields of a run.json as the dataclass that they were written from.

    Raises `BadRun`, which ends in `way_on`, for fields that this version does not know, or lacks.
    """
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    try:
        if unknown := sorted(set(values) - known):
            raise TypeError(f"it has {', '.join(unknown)}")
        return kind(**values)
    except TypeError as error:
        raise BadRun(f"{file} was written by another version of this program ({one_line(error)}). {way_on}") from error


def check_caches_exist(locations: Sequence[str], run: object = "this run", way_on: str | None = None) -> None:
    """Raise `BadCache` if one of the caches that a run was trained on, by its run.json, does not exist any more.

    `way_on` is the advice; without one, to name the present place of the cache.
    """
    for location in locations:
        if "://" not in location and not Path(location).is_dir():
            beside = " beside the others of the run" if len(locations) > 1 else ""
            raise BadCache(
                f"the cache of {one_line(run)} was {one_line(location)}, which does not exist. "
                f"{way_on or f'Name its present place with --cache{beside}'}"
            )


def check_identity_of_run(cache: Cache, identity: object) -> None:
    """Raise `BadCache` for a cache of another identity than the one that a run was trained on, by its run.json."""
    if cache.identity != identity:
        raise BadCache(
            f"{cache.location} is not the cache of this run (identity {cache.identity[:12]}… ≠ "
            f"{one_line(identity, 12)}…). Name the right one with --cache, or all if it was trained on several"
        )


def model_directory(run: Path) -> Path:
    """Return model/ of a finished run. Raises `BadRun` where it is gone."""
    if not (run / MODEL).is_dir():
        raise BadRun(f"{run} does not have its {MODEL}/ any more. Take it from a copy, or train the run again")
    return run / MODEL


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
        if not all(isinstance(value.get(name, {}), dict) for name in ("config", "inputs", "result")):
            raise ValueError("fields of other types")
    except (OSError, ValueError) as error:
        raise_if_of_system(error)
        raise BadRun(f"{path / RUN} is damaged ({one_line(error)}). Train the run again") from error
    return value
