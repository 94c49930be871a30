"""Checks before a cache is written: the space and shards it needs, and whether its teacher is worth caching."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.format.manifest_validation import checked_text
from pipeline.data.labels.label_names import names_word
from pipeline.data.splits import Split
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import Task
from pipeline.errors import BadCache, BadModel, BadOption, BadRows, one_line
from pipeline.system.formatting import size
from pipeline.teacher.label_order import better_order, better_order_of_several

MAX_SHARDS = 10_000  # so that the manifest stays readable
SHARD_OVERHEAD = 16_384  # bytes of container around a shard's columns
KEEP_LESS = "keep less with --layers or --dtype float16"


def bytes_needed(manifest: Manifest, splits: Mapping[str, Split], work: Sequence[tuple[str, int, int, int]]) -> int:
    """Return the bytes of the shards in `work`, to within their containers' overhead."""
    fixed = sum(kind.bytes(1) for kind in manifest.column_types().values() if kind.width is not None)
    ragged = {name: kind for name, kind in manifest.column_types().items() if kind.width is None}
    ragged_bytes: dict[str, np.ndarray] = {}  # split -> of each example
    for name in {name for name, *_ in work}:
        sizes = [splits[name].sizes(column) * np.dtype(kind.dtype).itemsize for column, kind in ragged.items()]
        ragged_bytes[name] = np.sum(sizes, axis=0)
    total = 0
    for name, _, start, stop in work:
        total += (stop - start) * (fixed + 8 * len(ragged)) + SHARD_OVERHEAD
        total += int(ragged_bytes[name][start:stop].sum())
    return total


def teacher_bytes(model: Any) -> int:
    """Return the bytes of the teacher's weights in the cache."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def check_space(directory: Path, needed: int, option: str = "--cache", or_else: str = KEEP_LESS) -> int:
    """Return the bytes that are free where `directory` is or will be.

    Raises `BadCache` if they are fewer than `needed`; the message advises another `option`, or `or_else`.
    """
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise BadCache(
            f"{directory} needs {size(needed)}, and {size(free)} are free there. Make room, name another {option}, or "
            f"{or_else}"
        )
    return free


def check_labels(manifest: Manifest) -> None:
    """Raise `BadRows` for labels that a reader would refuse in a manifest."""
    try:
        checked_text(manifest.text().encode())
    except ValueError as error:  # characters without an encoding too
        raise BadRows(
            f"the {manifest.model.classes:,} labels of {manifest.task.name} cannot be written into a manifest "
            f"({error}). "
            "Rename them, or name another --label-column"
        ) from error


def check_label_names(task: Task) -> None:
    """Raise `BadRows` for names of classes that a cache could not keep: said before a teacher is trained on them."""
    try:
        checked_text(json.dumps([task.labels, task.labels], indent=1, ensure_ascii=False).encode())
    except ValueError as error:
        raise BadRows(
            f"the {len(task.labels):,} labels of {task.name} cannot be kept in a cache ({one_line(error)}). Rename "
            "them, or name another --label-column"
        ) from error


def check_shards(count: int) -> None:
    """Raise `BadOption` for more shards than a manifest may have."""
    if count > MAX_SHARDS:
        raise BadOption(f"--shard-rows makes {count:,} shards, and a cache has {MAX_SHARDS:,} at most. Raise it")


def check_teacher(task: Task, split: str, logits: np.ndarray, labels: np.ndarray, way_on: str) -> None:
    """Raise `BadModel` for a teacher that does no better on a dev split than the best constant prediction.

    `way_on` is what to do about it, in words. Where its classes in another order would make its accuracy better by 10
    points (of several labels: the metric that judges), the message names the order. A split with only one label does
    not decide anything.
    """
    if (labels == labels[0]).all():
        return
    metrics = TaskMetrics(task.kind, task.metrics, task.labels)
    weakness = metrics.weakness(logits, labels)
    fact = f"on {split} the teacher's {weakness}"
    compared, order = metrics, None
    if task.kind.has_classes and labels.ndim == 2:
        order = better_order_of_several(metrics, logits, labels)
    elif task.kind.has_classes:
        compared, order = replace(metrics, names=("accuracy",)), better_order(task.labels, logits, labels)
    if order is not None:
        names, score = order
        present = f"on {split} the teacher's {compared.judge} is {compared.score(logits, labels):.3f}"
        raise BadModel(
            f"{fact if weakness else present}. With its classes in another order its {compared.judge} is {score:.3f}: "
            f"add --label-map {names_word(names)}"
        )
    if weakness is not None:
        raise BadModel(f"{fact}. {way_on}, or cache it anyway with --allow-weak-teacher")
