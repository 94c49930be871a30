"""From rows to the best student: a teacher, its cache, a short search, and what came of it."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.config.distill import DistillConfig
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.options import command_line
from pipeline.config.rows import CacheRowsConfig, RowsConfig
from pipeline.config.sweep import SweepConfig
from pipeline.config.training import CacheTeacherConfig, FinetuneTeacherConfig
from pipeline.data.tasks import TEST, role_of
from pipeline.system.cpu import require_single_process
from pipeline.system.files import read_json, write_json, write_text
from pipeline.system.progress import note, show
from pipeline.training.provenance import environment
from stages import cache_teacher, evaluate, finetune_teacher
from stages.distill.check import check_rows, chosen_model
from stages.distill.delivery import export_best, export_text, report_search
from stages.distill.outcome import HeldOut, Metrics, model_rows, remarks
from stages.distill.places import Places
from stages.distill.settings import ShortSearch, epochs, short_search
from stages.distill.speed import Latencies, deepest_within, measured_latencies
from stages.distill.steps import Steps
from stages.distill.table import table
from stages.sweep import run as sweep
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import SweepRecord, TrialRecord


@dataclass(frozen=True)
class DistillResult:
    """The result of `distill`: the best student, where everything is, and the commands that make it again."""

    command: str
    out: str
    task: str
    teacher: str
    cache: str
    sweep: str
    winner: str
    method: str
    student_layers: int
    latency_ms: float | None  # of one example; None where the depth could not be measured
    metric: str
    metrics: Metrics  # of the winner, on dev splits and, where there are labelled ones, on test splits
    intervals: Mapping[str, Mapping[str, Any]]  # 95 %, of the metrics on test splits
    teacher_metrics: Metrics
    export: str  # directory
    report: str  # page
    models: list[dict[str, Any]]  # the rows of the table
    steps: list[str]
    seconds: float


def run(config: DistillConfig) -> DistillResult:
    """Run every step that is not finished yet, and print the table. Raises the errors of the steps, and `BadOption`."""
    require_single_process("distill")
    started, steps = time.monotonic(), Steps()
    model = chosen_model(config)
    labelled = check_rows(config, model)
    places = Places.of_call(config)
    teacher = str(config.teacher or places.teacher)
    if model:
        steps.run("finetune-teacher", finetune_teacher.run, _teacher_config(config, model, labelled, places))
    cached = steps.run("cache-teacher", cache_teacher.run, _cache_config(config, teacher, places))
    cache = open_cache(Path(cached.out))
    latencies = _latencies(config, cache, places)
    search = short_search(config, cache.manifest, _depth(config, cache, latencies))
    record = _searched(config, search, cached.out, places, steps)
    best = record.best
    assert best is not None  # a sweep without any finished trial raises
    summary = places.summary(search.name)
    tested = _tested(cache, best, summary, steps)
    exported = export_best(config.format, best.out, places, steps)
    report = report_search(search.name, places, steps)
    rows = model_rows(cache, record, best, latencies, tested.metrics)
    text = "\n".join([table(rows, record.metric, latencies.conditions), *remarks(rows, best, record, tested)])
    text += f"\n{export_text(exported)}\nReport: {report.page}"
    show(text)
    result = DistillResult(
        "distill",
        str(places.root),
        config.task,
        teacher,
        cached.out,
        str(places.sweep(search.name)),
        best.out,
        best.method,
        search.depth,
        latencies.milliseconds.get(search.depth),
        record.metric,
        {split: dict(metrics) for split, metrics in best.metrics.items()} | dict(tested.metrics),
        dict(tested.intervals),
        cached.teacher_metrics,
        exported.out,
        report.page,
        [dataclasses.asdict(row) for row in rows],
        steps.lines,
        round(time.monotonic() - started, 2),
    )
    made_from = {"cache": cache.identity, "winner": best.out}
    write_json(summary.with_suffix(".json"), vars(result) | {"made_from": made_from, "environment": environment()})
    write_text(summary.with_suffix(".md"), text + "\n")
    return result


def _rows_options(config: DistillConfig, kind: type[RowsConfig]) -> dict[str, Any]:
    """Return the options that name the rows, for another command."""
    return {field.name: getattr(config, field.name) for field in fields(kind)}


def _teacher_config(config: DistillConfig, model: str, labelled: int, places: Places) -> FinetuneTeacherConfig:
    return FinetuneTeacherConfig(
        **_rows_options(config, RowsConfig),
        model=model,
        revision=config.revision,
        epochs=epochs(config, labelled, FinetuneTeacherConfig),
        max_steps=config.max_steps,
        class_weights=config.class_weights,
        precision=config.precision,
        seed=config.seed,
        out=str(places.teacher),
        resume=True,
    )


def _cache_config(config: DistillConfig, teacher: str, places: Places) -> CacheTeacherConfig:
    return CacheTeacherConfig(
        **_rows_options(config, CacheRowsConfig),
        teacher=teacher,
        revision=config.revision if config.teacher else None,
        label_map=config.label_map,
        allow_weak_teacher=config.allow_weak_teacher,
        precision=config.precision,
        cache=str(config.cache or places.cache),
    )


def _latencies(config: DistillConfig, cache: Cache, places: Places) -> Latencies:
    """Return the latency of the depths that are asked for, and of the teacher: of all depths for a budget."""
    depth = cache.manifest.model.depth
    depths = [*range(1, depth + 1)] if config.budget_ms else [config.student_layers or max(1, depth // 2), depth]
    return measured_latencies(cache, depths, places.runs / "latency.json")


def _depth(config: DistillConfig, cache: Cache, latencies: Latencies) -> int:
    """Return the number of student layers: those that are asked for, that fit the budget, or half the teacher's."""
    if config.budget_ms is None:
        return config.student_layers or max(1, cache.manifest.model.depth // 2)
    depth = deepest_within(config.budget_ms, latencies)
    note(
        f"--budget-ms {config.budget_ms:g}: {depth} of {cache.manifest.model.depth} layers, which take "
        f"{latencies.milliseconds[depth]:.1f} ms ({latencies.conditions})"
    )
    return depth


def _searched(config: DistillConfig, search: ShortSearch, cache: str, places: Places, steps: Steps) -> SweepRecord:
    """Return the sweep of the search, finished."""
    space, out = places.space(search.name), places.sweep(search.name)
    if not space.is_file() or space.read_text(encoding="utf-8") != search.toml():
        write_text(space, search.toml())
    options = SweepConfig(cache=cache, space=str(space), strategy="grid", runs=str(places.runs), out=str(out))
    steps.run("sweep", sweep.run, options)
    return SweepDirectory(out).read()


def _tested(cache: Cache, best: TrialRecord, summary: Path, steps: Steps) -> HeldOut:
    """Return what the best student does on labelled test splits, measured once; nothing without such splits."""
    if not any(role_of(name) == TEST and split.labelled for name, split in cache.splits.items()):
        return HeldOut({}, {})
    config = EvaluateConfig(run=best.out, split=TEST, cache=cache.location)
    try:
        earlier = read_json(summary.with_suffix(".json"))
        if earlier["made_from"] == {"cache": cache.identity, "winner": best.out}:
            metrics = {split: values for split, values in earlier["metrics"].items() if role_of(split) == TEST}
            steps.lines.append(command_line("evaluate", config))
            return HeldOut(metrics, {split: earlier["intervals"][split] for split in metrics})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    result, _ = steps.run("evaluate", evaluate.measure, config)
    return HeldOut(result.metrics, result.intervals)
