"""Whether the parts of a manifest agree with each other, and lead nowhere outside the directory of the cache."""

import math
import re
from pathlib import Path

from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.identity import is_teacher_name
from pipeline.cache.format.manifest import TEACHER_SUFFIXES, Manifest, ModelRecord, SplitRecord
from pipeline.data.metrics import check_metric
from pipeline.data.splits import digest_of
from pipeline.data.tasks import DEV, TASK_NAME, role_of

COMPUTE = ("bfloat16", "float32")
MOST_REPETITIONS = 1_000  # of one layer
MOST_TEXTS = 100  # text columns
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256."""
    return _DIGEST.fullmatch(text) is not None


def check_manifest(manifest: Manifest) -> None:
    """Raise ValueError where parts of a manifest contradict each other or would lead outside the directory."""
    if not manifest.fields.splits or list(manifest.splits) != list(manifest.fields.splits):
        raise ValueError("its splits are not those of its fields")
    if manifest.has_teacher:
        _check_teacher(manifest)
    else:
        _check_no_teacher(manifest)
    _check_task(manifest)
    for name, split in manifest.splits.items():
        _check_split(manifest, name, split)
    for file in manifest.teacher_files:
        if Path(file).name != file or Path(file).suffix not in TEACHER_SUFFIXES:
            raise ValueError(f"teacher file {file!r:.60}")
    scores = [score for metrics in manifest.teacher_metrics.values() for score in _items(metrics).values()]
    if not all(isinstance(score, int | float) and math.isfinite(score) for score in scores):
        raise ValueError("a metric of the teacher is not a number")


def _items(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.40} is not a dict")
    return value


def _check_teacher(manifest: Manifest) -> None:
    """Raise ValueError for a teacher of sizes that cannot be, or other than those of its files."""
    fields, model = manifest.fields, manifest.model
    if fields.compute not in COMPUTE:
        raise ValueError("its fields are of another kind of cache")
    layer_files = sum(re.fullmatch(r"layer-\d\d+\.safetensors", file) is not None for file in manifest.teacher_files)
    repeated = layer_files == 0 and model.depth <= MOST_REPETITIONS  # of one module, as in ALBERT
    if layer_files != model.depth and not repeated:  # so that there are no more layers than the manifest has lines
        raise ValueError(f"teacher/ has {layer_files} layers, not {model.depth}")
    if sorted(set(manifest.layers)) != list(manifest.layers) or not all(0 < n < model.depth for n in manifest.layers):
        raise ValueError(f"layers {manifest.layers!s:.60} of a teacher of {model.depth}")
    if not model.pad_id < model.vocabulary < 2**31 or model.token_types > 128 or not 0 < model.hidden < 2**31:
        raise ValueError("its model has sizes that cannot be")


def _check_no_teacher(manifest: Manifest) -> None:
    """Raise ValueError for a part of a teacher in a cache whose targets were made elsewhere."""
    if not is_teacher_name(manifest.fields.teacher_name):
        raise ValueError(f"{manifest.fields.teacher_name!r:.60} is not the name of a teacher")
    if not manifest.fields.texts or not is_digest(manifest.fields.target_values):
        raise ValueError("it has neither a teacher nor texts with their targets")
    if manifest.teacher_files or manifest.layers or manifest.model != ModelRecord.without_model(manifest.model.classes):
        raise ValueError("its targets were made elsewhere, and it has parts of a teacher")


def _check_task(manifest: Manifest) -> None:
    """Raise ValueError for a task of another kind, other labels or other texts than the identity and the columns."""
    fields, model, task, kind = manifest.fields, manifest.model, manifest.task, manifest.kind
    if task.labels != fields.labels:
        raise ValueError("its labels are not those of its fields")
    if model.classes != kind.num_logits(task.labels):
        raise ValueError(f"{model.classes} logits for {len(task.labels)} labels")
    if fields.sequences != kind.sequences(model.classes):
        raise ValueError(f"{fields.sequences} sequences for {model.classes} logits")
    if fields.texts > MOST_TEXTS or len(task.text_columns) not in (0, fields.texts):
        raise ValueError(f"{fields.texts} text columns, and {len(task.text_columns)} names of text columns")
    if "" in task.text_columns or len({*task.text_columns}) < len(task.text_columns):
        raise ValueError("its names of text columns are not different names")
    if not TASK_NAME.fullmatch(task.name):
        raise ValueError(f"{task.name!r:.60} is not the name of a task")
    if not task.metrics or set(task.settings) != set(kind.settings):
        raise ValueError(f"{len(task.metrics)} metrics, and the settings {', '.join(task.settings)!s:.60}")
    for metric in task.metrics:
        check_metric(kind, task.labels, metric)
    if manifest.dtype not in ("float16", "float32"):
        raise ValueError(f"dtype {manifest.dtype!r:.30}")


def _check_split(manifest: Manifest, name: str, split: SplitRecord) -> None:
    """Raise ValueError for shards that are not those of the identity, or whose columns are not those of the fields."""
    if not split.shards:
        raise ValueError(f"split {name!r:.30} does not have any shards")
    if digest_of([shard.rows_digest for shard in split.shards]) != manifest.fields.splits[name]:
        raise ValueError(f"the rows of split {name} are not those of the identity")
    labelled, every = split.labelled_examples, split.examples
    if (
        not 0 <= labelled <= every
        or split.labelled != (labelled > 0)
        or (role_of(name) == DEV and 0 < labelled < every)
    ):
        raise ValueError(f"{labelled} of {every} examples of split {name!r:.30} with labels")
    shard_rows, suffix = manifest.fields.shard_rows, CONTAINERS[manifest.container].suffix
    parts = {part for column, kind in manifest.column_types().items() for part in kind.parts(column)}
    for index, shard in enumerate(split.shards):
        if not re.fullmatch(r"[a-z]\w*", name, re.ASCII) or shard.file != f"{name}/{index:05d}{suffix}":
            raise ValueError(f"{shard.file!r:.60} is not the name of shard {index} of split {name!r:.30}")
        last = index == len(split.shards) - 1
        if not 0 < shard.rows <= shard_rows or (shard.rows < shard_rows and not last):
            raise ValueError(f"{shard.file} has {shard.rows} rows")
        if set(shard.parts) != parts:
            raise ValueError(f"{shard.file} has other columns than its fields say")
        for part, extent in shard.parts.items():
            if extent.offset + extent.bytes > shard.bytes:
                raise ValueError(f"{part} of {shard.file} ends after the file")
