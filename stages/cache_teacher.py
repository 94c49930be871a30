"""Run the teacher once over every split of a task and write the cache. Nothing after this needs the teacher."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.batching import by_length, collate
from pipeline.bundle import write_bundle
from pipeline.cache.columns import cls_column
from pipeline.cache.manifest import FORMAT_VERSION, Manifest, ModelRecord, SplitRecord, TaskRecord
from pipeline.cache.writer import CacheWriter
from pipeline.compute import accelerator, resolve_precision, single_process
from pipeline.encoders import check_max_length, depth_of
from pipeline.environment import environment
from pipeline.errors import BadModel, HubUnreachable
from pipeline.examples import Column, Split, rows_digest, shard_rows, tokenize
from pipeline.fingerprint import config_digest, tokenizer_digest, weights_digest
from pipeline.metrics import measure
from pipeline.patience import parse_layers
from pipeline.progress import bar, note
from pipeline.settings import command_line
from pipeline.signals import teacher_outputs
from pipeline.sources import load_rows
from pipeline.tasks import Task, find_task
from pipeline.teachers import Teacher, find_teacher, load_teacher
from stages.configs import CacheTeacherConfig

TEACHER_BATCH = 64  # part of the identity: the bytes of a shard depend on how its rows were batched


@dataclass(frozen=True)
class CacheResult:
    command: str
    out: str
    seconds: float
    identity: str
    examples: dict[str, int]
    bytes: int
    layers: list[int]
    teacher_metrics: dict[str, dict[str, float]]
    examples_per_second: float


def run(config: CacheTeacherConfig) -> CacheResult:
    """Write the cache, or go on with an interrupted one; a finished one of the same identity is left as it is.

    Raises a `DistillError`; a directory that holds something else is not touched.
    """
    single_process("cache-teacher")
    started = time.monotonic()
    try:
        rows = load_rows(config)
    except HubUnreachable:  # without rows and without a teacher, the way on is to make a teacher from local files
        find_teacher(find_task(config.task), config, config.teacher, config.revision)
        raise
    teacher = load_teacher(rows.task, config, config.teacher, config.revision)
    task, tokenizer, model = teacher.task, teacher.tokenizer, teacher.model
    check_max_length(config.max_length, tokenizer, model.config)
    splits = {
        split: tokenize(split, part.relabelled(rows.task.labels, task.labels), tokenizer, config.max_length)
        for split, part in rows.splits.items()
    }
    manifest = _manifest(config, teacher, splits)
    out = Path(config.cache or f"data/{task.name}")
    writer = CacheWriter(out, manifest.fields, config.format)
    if (finished := writer.finished()) is not None:
        note(f"{out} is already this cache, complete")
        return _result(out, finished, started)
    writer.start()
    teacher_files = writer.write_teacher(lambda directory: write_bundle(directory, model, tokenizer))
    records, forward = _write_splits(writer, manifest, model, splits, config.shard_rows)
    metrics = _teacher_metrics(writer, records, task)
    _warn_if_weak(task, splits, metrics)
    made = {
        "command": command_line("cache-teacher", config),
        "rows_from": rows.origin,
        "seconds": round(time.monotonic() - started, 2),
        **forward,
        "environment": environment(),
    }
    manifest = replace(manifest, splits=records, teacher_files=teacher_files, teacher_metrics=metrics, made=made)
    writer.finish(manifest)
    return _result(out, manifest, started)


def _manifest(config: CacheTeacherConfig, teacher: Teacher, splits: Mapping[str, Split]) -> Manifest:
    """What is known before the first forward pass: the identity and the shape of the columns."""
    model, tokenizer, task = teacher.model, teacher.tokenizer, teacher.task
    depth = depth_of(model.config)
    layers = tuple(range(1, depth)) if config.layers == "all" else parse_layers("--layers", config.layers, depth)
    fields = {
        "format": FORMAT_VERSION,
        "teacher_weights": weights_digest(model.state_dict()),
        "teacher_config": config_digest(model.config),
        "teacher_tokenizer": tokenizer_digest(tokenizer),
        "splits": {split: _split_digest(part, config.shard_rows) for split, part in splits.items()},
        "max_length": config.max_length,
        "layers": list(layers),
        "labels": list(task.labels) if task.labels else None,
        "shard_rows": config.shard_rows,
        "dtype": config.dtype,
        "compute": resolve_precision(config.precision),
        "batching": f"by length, {TEACHER_BATCH}",
        "sequences": 1,
    }
    record = ModelRecord(
        type=model.config.model_type,
        depth=depth,
        hidden=model.config.hidden_size,
        classes=task.classes,
        pad_id=tokenizer.pad_token_id,
        token_types="token_type_ids" in tokenizer.model_input_names,
        vocabulary=model.config.vocab_size,
    )
    return Manifest(fields, config.format, TaskRecord(task.name, task.labels, task.metrics), record)


def _shards(split: Split, rows: int) -> list[tuple[int, int]]:
    return [(start, min(start + rows, len(split))) for start in range(0, len(split), rows)]


def _split_digest(split: Split, rows: int) -> str:
    """SHA-256 over the row digests of the split's shards, so that a stream can be digested as it comes."""
    digests = [rows_digest(shard_rows(split, start, stop)) for start, stop in _shards(split, rows)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _write_splits(
    writer: CacheWriter, manifest: Manifest, model: Any, splits: Mapping[str, Split], rows: int
) -> tuple[dict[str, SplitRecord], dict[str, float]]:
    """Every shard of every split, computed unless an earlier call did; with what the pass itself took."""
    compute = accelerator(manifest.fields["compute"])
    model = model.eval().to(compute.device)
    types = manifest.column_types()
    records, computed, seconds = {}, 0, 0.0
    with bar(sum(map(len, splits.values())), f"cache {manifest.task.name}", "ex") as progress:
        for name, split in splits.items():
            shards = []
            for index, (start, stop) in enumerate(_shards(split, rows)):
                record = writer.written(name, index)
                if record is None:
                    begun = time.monotonic()
                    columns = _run_teacher(model, split, start, stop, manifest, compute, progress)
                    record = writer.write_shard(name, index, columns, types)
                    computed, seconds = computed + stop - start, seconds + time.monotonic() - begun
                else:
                    progress.update(stop - start)
                shards.append(record)
            records[name] = SplitRecord(split.labelled, tuple(shards))
    return records, {"computed_examples": computed, "computing_seconds": round(seconds, 3)}


def _run_teacher(
    model: Any, split: Split, start: int, stop: int, manifest: Manifest, compute: Any, progress: Any
) -> dict[str, Column]:
    """The columns of the shard of examples start..stop-1. Raises `BadModel` for outputs that are not finite."""
    columns, layers = shard_rows(split, start, stop), manifest.layers
    rows = stop - start
    logits = np.empty((rows, manifest.model.classes), np.float32)
    cls = {layer: np.empty((rows, manifest.model.hidden), manifest.dtype) for layer in layers}
    for places in by_length(np.arange(rows), split.lengths[start:stop], TEACHER_BATCH):
        batch = collate(split, start + places, manifest.model.pad_id).to(compute.device)
        targets = teacher_outputs(model, batch, layers, compute)
        logits[places] = targets.logits.cpu().numpy()
        if targets.cls is not None:
            vectors = targets.cls.cpu().numpy()
            for number, layer in enumerate(layers):
                with np.errstate(over="ignore"):
                    cls[layer][places] = vectors[:, number]
        progress.update(len(places))
    for what, values in {
        "logits": logits,
        **{f"[CLS] of layer {layer}": v for layer, v in cls.items()},
    }.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise BadModel(
                f"the teacher's {what} are not finite for example {start + int(bad.argmax())} of {split.name} "
                f"(stored as {values.dtype}). Try --dtype float32, or another teacher"
            )
    return {**columns, "logits": logits, **{cls_column(layer): vectors for layer, vectors in cls.items()}}


def _teacher_metrics(writer: CacheWriter, records: Mapping[str, SplitRecord], task: Task) -> dict[str, Any]:
    """The teacher's metrics on every labelled split, from the logits as they were written."""
    metrics = {}
    for name, record in records.items():
        if record.labelled:
            split = Split(name, [writer.read_shard(shard) for shard in record.shards], True)
            metrics[name] = measure(task.metrics, split.whole("logits"), split.labels)
    return metrics


def _warn_if_weak(task: Task, splits: Mapping[str, Split], metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Say so when the teacher does no better on a split than a constant answer would."""
    for name, values in metrics.items():
        labels = splits[name].labels
        if "accuracy" in values:
            constant = np.bincount(labels).max() / len(labels)
            if values["accuracy"] <= constant:
                note(
                    f"warning: on {name} the teacher's accuracy is {values['accuracy']:.3f}, and the most frequent "
                    f"label alone gives {constant:.3f}. Check its labels, or train it longer"
                )
        elif task.regression and values["pearson"] <= 0:
            note(f"warning: on {name} the teacher's scores do not rise with the labels. Check the teacher")


def _result(out: Path, manifest: Manifest, started: float) -> CacheResult:
    seconds = manifest.made.get("computing_seconds") or 0.0
    return CacheResult(
        "cache-teacher",
        str(out),
        round(time.monotonic() - started, 2),
        manifest.identity,
        {name: split.examples for name, split in manifest.splits.items()},
        manifest.bytes,
        list(manifest.layers),
        {name: dict(metrics) for name, metrics in manifest.teacher_metrics.items()},
        round(manifest.made.get("computed_examples", 0) / seconds, 1) if seconds else 0.0,
    )
