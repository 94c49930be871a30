"""Run the teacher once over every split of a task and write the cache. Nothing after this needs the teacher."""

import shlex
import time
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from pipeline.cache.earlier_version import in_version_of
from pipeline.cache.format.identity import MODEL_NAME
from pipeline.cache.format.manifest import Manifest
from pipeline.cache.user_store import record_rows
from pipeline.cache.writer import CacheWriter
from pipeline.config.options import command_line
from pipeline.config.rows import CacheRowsConfig
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.rows.sources import load_rows
from pipeline.data.spool import Spool
from pipeline.data.tasks import find_task
from pipeline.errors import BadCache, HubUnreachable
from pipeline.models.accelerator import gpu_count
from pipeline.system.cpu import require_single_process
from pipeline.system.progress import note
from pipeline.system.ray_cluster import Cluster, SharedDirectory, cluster
from pipeline.teacher.cache_job import CacheJob
from pipeline.teacher.given_targets import GivenTargets
from pipeline.teacher.locate import find_teacher, teachers_classes
from pipeline.teacher.row_targets import row_targets
from pipeline.teacher.running_teacher import running_teacher
from pipeline.training.provenance import shareable, shareable_place
from pipeline.training.run_reader import MODEL, RUN, read_run


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
    targets_from: str  # model, or the name of the teacher of target columns
    examples_per_second: float
    leaks: dict[str, int]  # rows of train and transfer whose texts are also in a dev or test split


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
    targets = row_targets(config)
    try:
        teachers = partial(teachers_classes, config, config.teacher, config.revision)
        rows = load_rows(config, teachers=teachers, targets=targets)
    except HubUnreachable:  # without rows and without a teacher, the way on is to make a teacher from local files
        find_teacher(find_task(config.task), config, config.teacher, config.revision)
        raise
    maker = GivenTargets(str(config.teacher_name), rows.task) if targets else running_teacher(rows, config)
    out = Path(config.cache or f"data/{maker.task.name}")
    splits = maker.examples(rows, config, Spool(out))
    for line in maker.doubts(config, splits):
        note(f"warning: {line}")
    manifest, splits = in_version_of(out, maker.manifest(config, splits), splits)
    writer = CacheWriter(out, manifest.fields, config.format)
    if (finished := writer.finished()) is not None:
        _check_judge(out, finished, manifest)
        note(f"{out} is already this cache, complete")
        return _result(out, finished, started)
    job = CacheJob(config, writer, manifest, maker, splits)
    if nodes:  # there, auto could be another precision
        fixed = replace(config, precision=manifest.fields.compute)
        job = replace(job, other_nodes=nodes.run_on_other_nodes(_join, fixed))
    job.check()
    if config.no_text:
        note(
            f"{out} will not have the texts: a student of another tokenizer than the teacher's cannot be trained from "
            "it, and cache export cannot write texts"
        )
    public_config = shareable(config)
    made = {
        "command": command_line("cache-teacher", public_config),
        "teacher": shareable_place(maker.name.removesuffix(f"/{MODEL}")),
        "rows_from": rows.origin,
        "leaks": rows.leak_counts(),
        "rows": {field.name: getattr(public_config, field.name) for field in fields(CacheRowsConfig)},
    }
    record_rows(manifest.identity, config)
    return _result(out, job.write(made, started), started)


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


def _join(directory: SharedDirectory, config: CacheTeacherConfig) -> None:
    """Share, on another node, the work of the process that holds the lease."""
    directory.enter()
    run(replace(config, engine="local", join=True, workers=gpu_count() or config.workers))


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
        manifest.fields.teacher_name or MODEL_NAME,
        round(manifest.made.get("computed_examples", 0) / seconds, 1) if seconds else 0.0,
        dict(manifest.made.get("leaks", {})),
    )
