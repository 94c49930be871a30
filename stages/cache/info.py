"""The command `cache info`: describe a cache, and measure what a student can learn from each layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.cache.format.columns import cls_column
from pipeline.cache.format.manifest import Manifest
from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.config.cache import CacheInfoConfig
from pipeline.data.splits import SEQUENCE_LENGTHS, Split, selection_split
from pipeline.data.task_kinds import TaskKind
from pipeline.data.tasks import TRAIN
from pipeline.data.texts import is_text
from pipeline.data.training_set import has_label
from pipeline.distillation.layer_probes import chunks, probe, probe_rows, variation
from pipeline.errors import BadCache
from pipeline.system.formatting import printable, size, spans, table
from pipeline.system.progress import bar, show

GROUPS = {"logits": "logits"} | dict.fromkeys(["input_ids", "token_type_ids", SEQUENCE_LENGTHS], "tokens")


@dataclass(frozen=True)
class LayerInfo:
    """Measurements of one layer: `variation` of the training split, 0 to 1; `probe`, the first metric on dev."""

    layer: int
    variation: float | None
    probe: float | None


@dataclass(frozen=True)
class Compared:
    """Data of the probes, and the scores to compare them with."""

    metric: str
    split: str
    examples: int  # training rows of a probe
    teacher: float
    majority: float | None  # the best constant prediction; None for regression


@dataclass(frozen=True)
class InfoResult:
    """The manifest in short, and the measurements of every layer."""

    command: str
    cache: str
    identity: str
    content: str
    task: str
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...]
    teacher: str | None
    teacher_metrics: dict[str, Any]
    model: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    dtype: str
    compute: str
    container: str
    bytes: dict[str, int]  # by group of columns
    derived_from: dict[str, str] | None
    made: dict[str, Any]
    layers: list[LayerInfo]
    probes: Compared | None


def run(config: CacheInfoConfig) -> InfoResult:
    """Describe a cache and print it; every byte that is read is verified. Raises `BadCache`."""
    cache = open_cache(config.cache)
    manifest = cache.manifest
    train, dev = _probe_splits(cache)
    columns = [cls_column(layer) for layer in manifest.layers]
    ids = _probe_ids(train, manifest, config.probe_examples) if train and dev else np.zeros(0, np.int64)
    read = {train.name: columns} if train else {}
    if dev and len(ids):
        read[dev.name] = ["logits", *columns]
    with cache.check_in_background(read) as verification:
        layers = []
        with bar(len(columns), "layers", "layer", show=bool(train and columns)) as progress:
            for layer in manifest.layers:
                layers.append(_layer(cache, layer, train, dev, ids))
                verification.poll()
                progress.update()
        compared = _compared(manifest, dev, len(ids)) if dev and len(ids) else None
        verification.wait()
    result = _result(config.cache, manifest, layers, compared)
    _print(result, manifest.kind)
    return result


def _result(location: str, manifest: Manifest, layers: list[LayerInfo], compared: Compared | None) -> InfoResult:
    teacher = manifest.teacher_called or None
    return InfoResult(
        "cache info",
        location,
        manifest.identity,
        manifest.content,
        manifest.task.name,
        manifest.task.labels or None,
        manifest.task.metrics,
        teacher if isinstance(teacher, str) else None,
        dict(manifest.teacher_metrics),
        asdict(manifest.model),
        {
            name: {
                "examples": split.examples,
                "labelled": split.labelled,
                "labelled_examples": split.labelled_examples,
                "shards": len(split.shards),
            }
            for name, split in manifest.splits.items()
        },
        manifest.dtype,
        manifest.fields.compute,
        manifest.container,
        _bytes(manifest),
        asdict(manifest.derived_from) if manifest.derived_from else None,
        dict(manifest.made),
        layers,
        compared,
    )


def _probe_splits(cache: Cache) -> tuple[Split | None, Split | None]:
    """Return the training split and the first labelled dev split; None for one without rows."""
    filled = {name: split for name, split in cache.splits.items() if len(split)}
    chosen = selection_split(filled)
    return filled.get(TRAIN), filled[chosen] if chosen else None


def _probe_ids(train: Split, manifest: Manifest, count: int) -> np.ndarray:
    """Return the ids of `count` examples with a label, all where there are not more."""
    labelled = np.flatnonzero(has_label(train, manifest.kind))
    return labelled[probe_rows(len(labelled), count)]


def _layer(cache: Cache, layer: int, train: Split | None, dev: Split | None, ids: np.ndarray) -> LayerInfo:
    """Measure one layer, its probe trained on the examples `ids`. Raises `BadCache` for values that are not finite."""
    column, manifest = cls_column(layer), cache.manifest
    score = None
    try:
        varies = variation(chunks(train, column, manifest.fields.sequences)) if train else None
        if train and dev and len(ids):
            vectors = dev.column(column)
            if not np.isfinite(vectors).all():
                raise ValueError("values that are not finite")
            labels, classes = train.gather("label", ids), manifest.model.classes
            outputs = probe(manifest.kind, train.gather(column, ids), labels, vectors, classes)
            score = manifest.task_metrics.score(outputs, dev.labels)
    except ValueError as error:
        raise BadCache(f"{cache.location}: layer {layer} holds {error}. Make the cache again") from error
    return LayerInfo(layer, varies, score)


def _compared(manifest: Manifest, dev: Split, examples: int) -> Compared:
    """Return the scores of the teacher and of the best constant prediction on the probes' dev split."""
    metrics = manifest.task_metrics
    teacher = metrics.score(dev.column("logits"), dev.labels)
    majority = max(metrics.constant_scores(dev.labels, manifest.model.classes), default=None)
    return Compared(metrics.judge, dev.name, examples, teacher, majority)


def _bytes(manifest: Manifest) -> dict[str, int]:
    """Return the bytes of each group of columns, of the containers around them, and of teacher/."""
    groups = dict.fromkeys(["rows", "tokens", "texts", "logits", "[CLS]"], 0)
    for _, shard in manifest.shards():
        for part, extent in shard.parts.items():
            name = part.partition("/")[0]
            group = "texts" if is_text(name) else GROUPS.get(name, "rows")
            groups["[CLS]" if name.startswith("cls_") else group] += extent.bytes
    groups["container"] = manifest.bytes - sum(groups.values())
    return groups | {"teacher": sum(record.bytes for record in manifest.teacher_files.values())}


def _print(result: InfoResult, kind: TaskKind) -> None:
    splits = (f"{name} {split['examples']:,}{_unlabelled(split)}" for name, split in result.splits.items())
    model = result.model
    facts = {
        "identity": result.identity,
        "content": result.content,
        "task": f"{result.task}, {kind.describe(result.labels or ())}",
        "metrics": ", ".join(result.metrics),
        "teacher": f"{result.teacher or '–'} ({_teacher(model)})",
        "it reaches": _scores(result.teacher_metrics),
        "splits": ", ".join(splits),
        "layers": _layers(result),
        "bytes": ", ".join(f"{name} {size(count)}" for name, count in result.bytes.items() if count),
        "container": result.container,
        "made by": result.made.get("command", "–"),
        "rows from": result.made.get("rows_from", "–"),
        "derived from": result.derived_from["identity"] if result.derived_from else "–",
    }
    for name, fact in facts.items():
        if fact not in ("", "–"):
            show(f"{name:<13} {printable(fact)}")
    if result.layers:
        show()
        show(
            table(
                ("layer", "variation", "probe"),
                [(la.layer, _digits(la.variation, ".2g"), _digits(la.probe, ".3f")) for la in result.layers],
            )
        )
        show(_how_to_read(result.probes))


def _unlabelled(split: Mapping[str, Any]) -> str:
    if not split["labelled"]:
        return " (no labels)"
    return "" if split["labelled_examples"] == split["examples"] else f" ({split['labelled_examples']:,} with a label)"


def _scores(metrics: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(
        f"{split} " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        for split, scores in metrics.items()
    )


def _teacher(model: Mapping[str, Any]) -> str:
    if not model["depth"]:
        return "not in the cache: its targets were made elsewhere"
    return f"{model['type']}, {model['depth']} layers of {model['hidden']}"


def _layers(result: InfoResult) -> str:
    if not result.model["depth"]:
        return "none"
    return f"{spans([layer.layer for layer in result.layers])}, in {result.dtype}, computed in {result.compute}"


def _digits(value: float | None, digits: str) -> str:
    return "–" if value is None else format(value, digits)


def _how_to_read(compared: Compared | None) -> str:
    text = "variation: 0 where all [CLS] vectors point the same way (nothing to match), 1 where they share no direction"
    if compared is None:
        return text + "."
    majority = "" if compared.majority is None else f" and {compared.majority:.3f} for the best constant prediction"
    return (
        f"{text}; probe: {compared.metric} on {compared.split} of a linear model of that layer's [CLS], trained on "
        f"{compared.examples:,} examples, beside {compared.teacher:.3f} for the teacher{majority}."
    )
