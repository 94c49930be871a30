"""The commands that repeat what is in a report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.joined_cache import JoinedCache
from pipeline.cache.reader import Cache
from pipeline.config.options import Options, command_line, values_of
from pipeline.config.report import ReportConfig
from pipeline.config.training import FinetuneTeacherConfig, TrainStudentConfig
from pipeline.errors import DistillError, shell_line
from pipeline.training.run_reader import read_run
from stages.report.blocks import Block, Commands, Text
from stages.report.comparison import Comparison
from stages.report.inputs import Inputs
from stages.report.student_run import StudentRun

MOST_RUNS = 40


def command_lines(inputs: Inputs, comparisons: Sequence[Comparison], config: ReportConfig) -> list[Block]:
    """Return the commands from the teacher to this report, as far as they are recorded."""
    caches = [cache for comparison in comparisons for cache in _caches(comparison.distillation.cache)]
    manifests = [cache.manifest for cache in caches]
    alone = [run for run in inputs.runs if run.path.resolve() in inputs.named]
    trainings = [line for run in alone[:MOST_RUNS] if (line := _training(run))]
    best = [shell_line("evaluate", comparison.best.path) for comparison in comparisons]
    lines = [
        *(line for manifest in manifests if (line := _teacher(manifest))),
        *(str(manifest.made["command"]) for manifest in manifests if manifest.made.get("command")),
        *(record.command for record in inputs.sweeps),
        *trainings,
        *best,
        report_line(config),
    ]
    blocks: list[Block] = [Commands(tuple(dict.fromkeys(lines)))]
    if remaining := len(alone) - len(trainings):
        blocks.append(Text(f"The options of {remaining} more of the runs are in their run.json."))
    return blocks


def report_line(config: ReportConfig) -> str:
    """Return the command of this report, wherever it is written; the order of its runs does not matter."""
    runs = tuple(sorted(set(values_of(config.runs))))
    return command_line("report", replace(config, runs=runs, out=None))


def _caches(cache: Cache) -> Sequence[Cache]:
    return cache.caches if isinstance(cache, JoinedCache) else (cache,)


def _teacher(manifest: Manifest) -> str | None:
    """Return the command that fine-tuned the teacher of a cache, if its run is still where it was."""
    place = manifest.made.get("teacher")
    if not isinstance(place, str) or "://" in place:
        return None
    try:
        record = read_run(Path(place))
        if record["command"] != "finetune-teacher":
            return None
        return _line("finetune-teacher", FinetuneTeacherConfig, {**record.get("rows", {}), **record["config"]}, place)
    except (DistillError, OSError, TypeError, ValueError):
        return None


def _training(run: StudentRun) -> str | None:
    """Return the command of a training; None if its record does not fit the options of this version."""
    values = {**run.config, "cache": run.record.get("cache")}
    if values.get("method") == "pkd-custom":
        values["method"] = "pkd-skip"
    else:
        values.pop("teacher_layers", None)  # the method implies them
    try:
        return _line("train-student", TrainStudentConfig, values, str(run.path))
    except (DistillError, TypeError, ValueError):
        return None


def _line(command: str, config: type[Options], values: Mapping[str, Any], out: str) -> str:
    names = {field.name for field in fields(config)}
    if unknown := set(values) - names:
        raise ValueError(f"{unknown} are not options")
    plain = dict(_plain(values))
    return command_line(command, config(**{**plain, "out": out}))


def _plain(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield options as they are typed: lists of numbers as text."""
    for name, value in values.items():
        is_numbers = isinstance(value, list) and all(isinstance(part, int) for part in value)
        yield name, ",".join(map(str, value)) or None if is_numbers else value
