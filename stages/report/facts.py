"""Facts about a distillation: data, labels, teacher, students, cache, machine and versions."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.joined_cache import JoinedCache
from pipeline.cache.reader import Cache
from pipeline.config.methods import METHODS
from pipeline.errors import one_line
from pipeline.system.formatting import public_place, size, spans
from stages.report.blocks import Facts
from stages.report.comparison import Comparison
from stages.report.words import count
from stages.sweep.report.leaderboard import score_text, value_text
from stages.sweep.search.record import FINISHED, SweepRecord

PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
SHOWN_OPTIONS = ("epochs", "max_steps", "batch_size", "lr", "warmup", "weight_decay", "temperature", "alpha", "beta")
MOST_CLASSES = 12


def data_facts(comparison: Comparison) -> Facts:
    """Return the facts about a cache and its students."""
    distillation = comparison.distillation
    cache, manifest = distillation.cache, distillation.cache.manifest
    environments = [run.record.get("environment", {}) for run in distillation.runs]
    rows = [
        ("task", f"{manifest.task.name}: {_kind(manifest)}"),
        ("rows", "; ".join(_rows(cache))),
        ("compared on", f"{distillation.split}: {count(len(distillation.dev), 'example')}, by {comparison.judge}"),
        ("teacher", _teacher(cache)),
        ("its metrics", "; ".join(_metrics(manifest))),
        ("students", _students(comparison)),
        *_options(comparison),
        ("cache", f"{public_place(cache.location)}, {size(_bytes(cache))}, identity {cache.identity[:12]}…"),
        ("kept in it", f"logits; [CLS] of layers {spans(manifest.layers)}" if manifest.layers else "logits"),
        ("machine", "; ".join(_distinct(environment.get("device") for environment in environments))),
        ("versions", "; ".join(_distinct(map(_versions, environments)))),
    ]
    return Facts(tuple((name, value) for name, value in rows if value))


def sweep_facts(sweeps: Sequence[SweepRecord]) -> Facts:
    """Return how many trials of each sweep are in the report, and how many are left out."""
    rows = []
    for record in sweeps:
        states = Counter(trial.state for trial in record.trials)
        done, unfinished = states.pop(FINISHED, 0), [f"{number} {state}" for state, number in sorted(states.items())]
        left_out = f"; left out: {', '.join(unfinished)}" if unfinished else ""
        planned = f" of {record.planned} planned" if record.planned else ""
        rows.append((f"sweep {record.name}", f"{record.strategy}, {done} finished{planned}{left_out}"))
    return Facts(tuple(rows))


def teacher_name(manifest: Manifest) -> str:
    """Return what the teacher was called when the cache was made."""
    return manifest.fields.teacher_name or public_place(str(manifest.made.get("teacher") or manifest.model.type))


def teacher_parameters(cache: Cache) -> int | None:
    """Return the number of parameters of the teacher in a cache; None where it is not here, or cannot be read."""
    from safetensors import SafetensorError, safe_open

    files = [cache.teacher / name for name in cache.manifest.teacher_files if name.endswith(".safetensors")]
    total = 0
    for file in files:
        try:
            with safe_open(Path(file), framework="np") as tensors:
                total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except (OSError, SafetensorError):
            return None
    return total or None


def _kind(manifest: Manifest) -> str:
    labels = manifest.task.labels
    if not manifest.kind.has_classes:
        return manifest.kind.describe(labels)
    names = ", ".join(labels[:MOST_CLASSES]) + (", …" if len(labels) > MOST_CLASSES else "")
    return f"{manifest.kind.title}, {len(labels)} classes ({names})"


def _rows(cache: Cache) -> Iterable[str]:
    """Yield the number of rows of each split, and where they came from."""
    for name, split in cache.splits.items():
        labelled = int(cache.manifest.kind.has_label(split.labels).sum()) if split.labelled else 0
        some = f" ({labelled:,} with a label)" if 0 < labelled < len(split) else "" if labelled else " without labels"
        yield f"{name} {len(split):,}{some}"
    sources = [each.manifest.made.get("rows_from") for each in _members(cache)]
    yield from (f"from {source}" for source in _distinct(public_place(str(source)) for source in sources if source))


def _teacher(cache: Cache) -> str:
    manifest = cache.manifest
    if not manifest.has_teacher:
        return f"{teacher_name(manifest)}, elsewhere: its targets came with the rows"
    model, parameters = manifest.model, teacher_parameters(cache)
    known = f", {count(parameters, 'parameter')}" if parameters else ""
    return f"{teacher_name(manifest)}: {model.type}, {count(model.depth, 'layer')}, width {model.hidden}{known}"


def _metrics(manifest: Manifest) -> Iterable[str]:
    for split, metrics in manifest.teacher_metrics.items():
        yield f"{split}: {', '.join(f'{name} {score_text(value)}' for name, value in metrics.items())}"


def _students(comparison: Comparison) -> str:
    runs = comparison.distillation.runs
    methods = Counter(METHODS[run.result.method].display_name for run in runs)
    tried = ", ".join(f"{number} {name}" for name, number in methods.items())
    depths = spans(sorted({run.result.student_layers for run in runs}))
    return f"{count(len(runs), 'run')} ({tried}); layers: {depths}"


def _options(comparison: Comparison) -> Iterable[tuple[str, str]]:
    """Return the options that all rows of the table have in common."""
    configs = [row.config for row in comparison.rows]
    shared = []
    for name in SHOWN_OPTIONS:
        values = {json.dumps(config[name]) for config in configs if config.get(name) is not None}
        if len(values) == 1:
            value = json.loads(values.pop())
            shared += [f"{name} {value_text(value)}"] if value else []
    return [("options alike", ", ".join(shared))] if shared else []


def _bytes(cache: Cache) -> int:
    return sum(each.manifest.bytes for each in _members(cache))


def _members(cache: Cache) -> Sequence[Cache]:
    return cache.caches if isinstance(cache, JoinedCache) else (cache,)


def _versions(environment: Any) -> str | None:
    if not isinstance(environment, dict) or not isinstance(environment.get("packages"), dict):
        return None
    packages = ", ".join(f"{name} {environment['packages'].get(name)}" for name in PACKAGES)
    return f"python {environment.get('python')}, {packages}"


def _distinct(values: Iterable[Any]) -> list[str]:
    return [one_line(value) for value in dict.fromkeys(values) if value]
