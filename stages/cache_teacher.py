"""Run the teacher once over every split of a task and write the cache. Nothing after this needs the teacher."""

import shlex
import time
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.cache.earlier_version import in_version_of
from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.format.manifest import (
    FORMAT_VERSION,
    FileRecord,
    Manifest,
    ModelRecord,
    ShardRecord,
    SplitRecord,
    TaskRecord,
)
from pipeline.cache.shard_sources import LocalSource
from pipeline.cache.shards import open_split
from pipeline.cache.teacher_files import write_teacher_files
from pipeline.cache.user_store import record_rows
from pipeline.cache.writer import CacheWriter
from pipeline.config.options import command_line
from pipeline.config.rows import RowsConfig
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.sources import load_rows
from pipeline.data.splits import Split, selection_split, shard_ranges, split_digest
from pipeline.data.tasks import DEV, find_task, role_of
from pipeline.data.tokenize import tokenize
from pipeline.distillation.layer_map import parse_layers
from pipeline.errors import BadCache, BadModel, HubUnreachable
from pipeline.models.accelerator import gpu_count, make_accelerator, resolve_precision
from pipeline.models.checkpoints import check_cuts
from pipeline.models.encoders import depth_of
from pipeline.models.inputs import SEGMENTS, check_max_length, fit_tokenizer, segment_rows
from pipeline.models.tokenizer import check_tokenizer_saves
from pipeline.system.cpu import available_cores, require_single_process
from pipeline.system.digests import config_digest, tokenizer_digest, weights_digest
from pipeline.system.formatting import duration, size
from pipeline.system.progress import bar, note
from pipeline.system.ray_cluster import Cluster, SharedDirectory, cluster
from pipeline.teacher import preflight
from pipeline.teacher.forward import BATCHING, teacher_pass
from pipeline.teacher.locate import Teacher, find_teacher, load_teacher
from pipeline.teacher.shard_queue import ShardTask, process_shards
from pipeline.teacher.shard_workers import in_processes, in_this_process
from pipeline.teacher.teacher_rows import differences
from pipeline.training.provenance import environment, shareable, shareable_place
from pipeline.training.run_reader import MODEL, RUN, read_run

POLL_SECONDS = 1.0
Records = dict[tuple[str, int], ShardRecord]


@dataclass(frozen=True)
class CacheResult:
    """The result of `cache-teacher`."""

    command: str
    out: str
    seconds: float
    identity: str
    examples: dict[str, int]
    bytes: int
    layers: list[int]
    teacher_metrics: dict[str, dict[str, float]]
    examples_per_second: float


@dataclass(frozen=True)
class Job:
    """A cache to be made: what is known before the teacher runs, and what makes it."""

    config: CacheTeacherConfig
    writer: CacheWriter
    manifest: Manifest
    teacher: Teacher
    splits: Mapping[str, Split]
    accelerator: Any
    nodes: Cluster | None  # that compute beside this process

    @cached_property
    def work(self) -> list[ShardTask]:
        """All shards, those of dev splits first: they show whether the teacher is worth the rest."""
        ordered = sorted(self.splits, key=lambda name: role_of(name) != DEV)
        rows = self.config.shard_rows
        return [(n, i, *shard) for n in ordered for i, shard in enumerate(shard_ranges(len(self.splits[n]), rows))]

    def write_teacher(self) -> dict[str, FileRecord]:
        """Write teacher/ unless it exists; return the records of its files."""
        return self.writer.write_teacher(lambda to: write_teacher_files(to, self.teacher.model, self.teacher.tokenizer))

    def with_records(self, records: Records) -> Manifest:
        """Return the manifest with these shards."""
        splits = {
            name: SplitRecord(
                split.labelled,
                tuple(record for (split_name, _), record in sorted(records.items()) if split_name == name),
                int(self.manifest.kind.has_label(split.labels).sum()) if split.labelled else 0,
            )
            for name, split in self.splits.items()
        }
        return replace(self.manifest, splits=splits)


def run(config: CacheTeacherConfig) -> CacheResult:
    """Write the cache, or go on with an interrupted one; a finished one of the same identity is left unchanged.

    Raises a `DistillError`; a directory that holds something else is not touched.
    """
    require_single_process("cache-teacher")
    with cluster(config.ray_address) if config.engine == "ray" else nullcontext() as nodes:
        return _run(config, nodes)


def _run(config: CacheTeacherConfig, nodes: Cluster | None) -> CacheResult:
    started = time.monotonic()
    config = _with_teachers_metric(config)
    try:
        rows = load_rows(config)
    except HubUnreachable:  # without rows and without a teacher, the way on is to make a teacher from local files
        find_teacher(find_task(config.task), config, config.teacher, config.revision)
        raise
    teacher = load_teacher(rows.task, config, config.teacher, config.revision, config.label_map)
    made_by = tokenizer_digest(teacher.tokenizer)
    fit_tokenizer(teacher.name, teacher.tokenizer, teacher.model, rows.texts)
    check_max_length(config.max_length, teacher.tokenizer, teacher.model)
    check_tokenizer_saves(teacher.name, teacher.tokenizer, teacher.model.config)
    splits = {
        split: tokenize(
            split,
            part.relabelled(rows.task.labels, teacher.task.labels),
            teacher.tokenizer,
            config.max_length,
            texts=not config.no_text,
        )
        for split, part in rows.splits.items()
    }
    for line in differences(teacher.name, config, splits):
        note(f"warning: {line}")
    out = Path(config.cache or f"data/{teacher.task.name}")
    manifest, splits = in_version_of(out, _manifest(config, teacher, made_by, splits), splits)
    writer = CacheWriter(out, manifest.fields, config.format)
    if (finished := writer.finished()) is not None:
        _check_judge(out, finished, manifest)
        note(f"{out} is already this cache, complete")
        return _result(out, finished, started)
    job = Job(config, writer, manifest, teacher, splits, make_accelerator(manifest.fields.compute), nodes)
    _preflight(job)
    if config.no_text:
        note(
            f"{out} will not have the texts: a student of another tokenizer than the teacher's cannot be trained from "
            "it, and cache export cannot write texts"
        )
    public_config = shareable(config)
    made = {
        "command": command_line("cache-teacher", public_config),
        "teacher": shareable_place(teacher.name.removesuffix(f"/{MODEL}")),
        "rows_from": rows.origin,
        "rows": {field.name: getattr(public_config, field.name) for field in fields(RowsConfig)},
    }
    record_rows(manifest.identity, config)
    return _result(out, _write(job, made, started), started)


def _with_teachers_metric(config: CacheTeacherConfig) -> CacheTeacherConfig:
    """Return the options with the metric that the run of the teacher was judged by, unless --metric names another."""
    directory = Path(config.teacher or f"runs/{config.task}/teacher")
    if config.metric or not (directory / RUN).is_file():
        return config
    rows = read_run(directory).get("rows", {})
    return replace(config, metric=rows.get("metric")) if rows.get("task") == config.task else config


def _check_judge(out: Path, finished: Manifest, wanted: Manifest) -> None:
    """Raise `BadCache` for a finished cache that is judged by another metric."""
    metric, judge = wanted.task.metrics[0], finished.task.metrics[0]
    if metric != judge:
        raise BadCache(
            f"{out} is this cache, complete, and judged by {judge}. Give --metric {shlex.quote(metric)} to "
            "train-student, or choose another --cache"
        )


def _preflight(job: Job) -> None:
    """Report what the rest needs. Raises a `DistillError` if it is not available; nothing is written yet."""
    writer, manifest, splits = job.writer, job.manifest, job.splits
    preflight.check_shards(len(job.work))
    preflight.check_labels(manifest)
    remaining = [item for item in job.work if writer.recorded(*item[:2]) is None]
    needed = preflight.bytes_needed(manifest, splits, remaining)
    if writer.teacher_files() is None:
        check_cuts(job.teacher.model)
        needed += preflight.teacher_bytes(job.teacher.model)
    free = preflight.check_space(writer.directory, needed)
    with teacher_pass(job.teacher.model, job.accelerator, manifest, available_cores()) as running:
        rate = running.tokens_per_second(splits[remaining[0][0]], *remaining[0][2:]) if remaining else 0.0
    examples = sum(stop - start for *_, start, stop in remaining)
    tokens = sum(int(splits[name].tokens[start:stop].sum()) for name, _, start, stop in remaining)
    note(
        f"{writer.directory}: {examples:,} examples in {len(remaining)} shards, "
        f"[CLS] of layers {', '.join(map(str, manifest.layers)) or 'none'}; {size(needed)} needed, "
        f"{size(free)} free; about {duration(tokens / rate if rate else 0)} by a measured batch"
    )


def _write(job: Job, made: Mapping[str, Any], started: float) -> Manifest:
    """Everything that is written, from the lease to the manifest. A weak teacher leaves nothing behind."""
    writer, splits = job.writer, job.splits
    try:
        owner, finished = _lead(writer, job.config.join)
        if not owner:
            note(f"{writer.directory}: sharing the work of another process")
        while not owner and finished is None and writer.teacher_files() is None:  # workers read it from there
            time.sleep(POLL_SECONDS)
            owner, finished = _lead(writer, join=True)
        if finished is not None:
            return finished
        teacher_files = job.write_teacher() if owner else None
        records, forward = _compute(job, selection_split(splits))
        while not owner:  # whoever holds the lease finishes; if it dies, the work is there and this process does
            owner, finished = _lead(writer, join=True)
            if finished is not None:
                return finished
            if not owner:
                time.sleep(POLL_SECONDS)
        manifest = job.with_records(records)
        manifest = replace(
            manifest,
            teacher_files=teacher_files or job.write_teacher(),
            teacher_metrics={
                name: _teacher_metrics(writer, manifest, name) for name, split in splits.items() if split.labelled
            },
            made={**made, "seconds": round(time.monotonic() - started, 2), **forward, "environment": environment()},
        )
        writer.finish(manifest)
        return manifest
    except BadModel:  # a teacher that cannot be cached leaves nothing behind
        writer.discard()
        raise
    finally:
        writer.close()


def _lead(writer: CacheWriter, join: bool) -> tuple[bool, Manifest | None]:
    """Return whether this process holds the cache's lease now, and the manifest if another has finished the cache."""
    return writer.start(join), writer.finished()


def _manifest(config: CacheTeacherConfig, teacher: Teacher, made_by: str, splits: Mapping[str, Split]) -> Manifest:
    """Return what is known before the first forward pass: the identity and the shape of the columns.

    `made_by` is the digest of the teacher's tokenizer as it was loaded.
    """
    model, tokenizer, task = teacher.model, teacher.tokenizer, teacher.task
    depth = depth_of(model.config)
    layers = tuple(range(1, depth)) if config.layers == "all" else parse_layers("--layers", config.layers, depth)
    identity = CacheIdentity(
        format=FORMAT_VERSION,
        teacher_weights=weights_digest(model.state_dict()),
        teacher_config=config_digest(model.config),
        teacher_tokenizer=made_by,
        splits={split: split_digest(part, config.shard_rows) for split, part in splits.items()},
        max_length=config.max_length,
        layers=layers,
        labels=task.labels,
        shard_rows=config.shard_rows,
        dtype=config.dtype,
        compute=resolve_precision(config.precision),
        batching=BATCHING,
        sequences=task.kind.sequences(task.num_logits),
        kind=task.kind.name,
        texts=0 if config.no_text else len(task.text_columns),
    )
    record = ModelRecord(
        type=model.config.model_type,
        depth=depth,
        hidden=model.config.hidden_size,
        classes=task.num_logits,
        pad_id=tokenizer.pad_token_id,
        token_types=segment_rows(model) if SEGMENTS in tokenizer.model_input_names else 0,
        vocabulary=model.config.vocab_size,
    )
    columns = () if config.no_text else task.text_columns
    task_record = TaskRecord(task.name, task.labels, task.metrics, task.kind.settings, columns)
    return Manifest(identity, config.format, task_record, record)


def _compute(job: Job, selection: str | None) -> tuple[Records, dict[str, float]]:
    """Return the records of all shards; `selection` is computed first, and a teacher that is weak there is refused."""
    config, writer, manifest, splits = job.config, job.writer, job.manifest, job.splits
    done, started = [0], time.monotonic()
    with ExitStack() as stack:
        progress = stack.enter_context(bar(sum(map(len, splits.values())), f"cache {manifest.task.name}", "ex"))

        def computed(examples: int) -> None:
            done[0] += examples
            progress.update(examples)

        if config.workers > 1:
            pool = stack.enter_context(
                in_processes(writer, manifest, splits, config.workers, progress.update, computed)
            )
        else:
            running = stack.enter_context(teacher_pass(job.teacher.model, job.accelerator, manifest, available_cores()))
            pool = in_this_process(writer, splits, running, progress.update, computed)
        if job.nodes:
            fixed = replace(config, precision=manifest.fields.compute)  # auto could be another on another node
            stack.enter_context(job.nodes.run_on_other_nodes(_join, fixed))
        first = [item for item in job.work if item[0] == selection]
        records = process_shards(writer, first, pool)
        if selection and not config.allow_weak_teacher:
            logits = _open(writer, job.with_records(records), selection).column("logits")
            preflight.check_teacher(job.teacher.task, selection, logits, splits[selection].labels)
        records |= process_shards(writer, [item for item in job.work if item[0] != selection], pool)
    return records, {"computed_examples": done[0], "computing_seconds": round(time.monotonic() - started, 3)}


def _join(directory: SharedDirectory, config: CacheTeacherConfig) -> None:
    """Share, on another node, the work of the process that holds the lease."""
    directory.enter()
    run(replace(config, engine="local", join=True, workers=gpu_count() or config.workers))


def _open(writer: CacheWriter, manifest: Manifest, name: str) -> Split:
    """Return a split of a cache that does not have a manifest yet."""
    return open_split(LocalSource(writer.directory), manifest, name)


def _teacher_metrics(writer: CacheWriter, manifest: Manifest, name: str) -> dict[str, float]:
    """Return the teacher's metrics on a labelled split, from the logits as they were written."""
    split = _open(writer, manifest, name)
    metrics = manifest.task_metrics.measure(split.column("logits"), split.labels)
    if (doubt := manifest.kind.doubt(metrics)) is not None:
        note(f"warning: on {name} the teacher's {doubt}. Check the teacher")
    return metrics


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
