"""A finished run, opened to be measured: on its cache, on another copy of it, or on the rows of its task."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.columns import LOGITS
from pipeline.cache.open import open_caches
from pipeline.cache.reader import Cache, splits_of_role
from pipeline.cache.token_store import TokenStore
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.options import values_of
from pipeline.config.rows import RowsConfig
from pipeline.data.labels.label_names import listed
from pipeline.data.rows.sources import load_rows
from pipeline.data.splits import TEXT_HASH, Split
from pipeline.data.tables.places import missing, name_of
from pipeline.data.task_kinds import TaskKind
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import DEV, role_of
from pipeline.data.tokenize import tokenize
from pipeline.distillation.own_tokens import with_own_tokens
from pipeline.errors import BadCache, BadOption, BadRows, BadRun
from pipeline.models.accelerator import make_accelerator, prepare_for_cls, resolve_precision
from pipeline.models.checkpoints import load_classifier, load_skeleton, load_tokenizer, output_names
from pipeline.models.inputs import fit_tokenizer, leave_out_segments
from pipeline.models.tokenizer import is_tokenizer
from pipeline.system.progress import note
from pipeline.training.learner import predict
from pipeline.training.run_reader import (
    MODEL,
    RUN,
    as_recorded,
    check_caches_exist,
    check_identity_of_run,
    model_directory,
    read_run,
)
from pipeline.training.trained_rows import changed_splits

Logits = dict[str, np.ndarray]  # of each split: [n, C]


@dataclass(frozen=True)
class Outputs:
    """The logits of a model, and those of the teacher of its cache, whose kind has the teacher's settings."""

    logits: Logits
    teacher: Logits = field(default_factory=dict)
    teachers_kind: TaskKind | None = None


@dataclass(frozen=True)
class MeasuredRun:
    """A run before its model predicts. `metrics` have the settings of the model.

    `texts` returns the column that identifies the texts of a split, uint8 [n, 16]; None where they are not kept.
    """

    name: str
    metrics: TaskMetrics
    splits: Mapping[str, Split]
    texts: Callable[[str], np.ndarray | None]
    predict: Callable[[], Outputs]


def open_run(config: EvaluateConfig, name: str) -> MeasuredRun:
    """Return one of the runs of `evaluate`. Raises a `DistillError` for rows that it cannot be measured on."""
    record = read_run(Path(name))
    model_directory(Path(name))
    cache = _cache(config.cache, record.get("cache"))
    return _on_cache(config, name, record, cache) if cache else _on_rows(config, name, record)


def _on_cache(config: EvaluateConfig, name: str, record: dict[str, Any], cache: Cache) -> MeasuredRun:
    """Return a run that is measured on a cache, beside the cached teacher."""
    model_path = str(Path(name) / MODEL)
    tokenizer, skeleton = load_tokenizer(model_path), load_skeleton(model_path)
    tokenized = _check_cache(cache, record, tokenizer, output_names(skeleton.config))
    chosen = _chosen(config, tokenized.splits)
    metrics = cache.manifest.task_metrics.judged_by(record["config"].get("metric"))
    text_key = cache.manifest.text_key

    def outputs() -> Outputs:
        columns = {split: [*tokenized.input_columns, LOGITS, *([text_key] if text_key else [])] for split in chosen}
        model: Any = load_classifier(model_path, safetensors_only=True)
        leave_out_segments(model, tokenized.tokens.segments)
        with tokenized.check_in_background(columns) as check:
            logits = _predict(model, chosen, tokenizer, _precision(config, record))
            teacher = {split: part.column(LOGITS) for split, part in chosen.items()}
            check.wait()
        return Outputs(logits, teacher, cache.manifest.kind)

    def texts(split: str) -> np.ndarray | None:
        return cache.splits[split].column(text_key) if text_key else None

    return MeasuredRun(name, _of_model(metrics, skeleton, model_path), chosen, texts, outputs)


def _on_rows(config: EvaluateConfig, name: str, record: dict[str, Any]) -> MeasuredRun:
    """Return the run of a teacher that is measured on the rows of its task."""
    model_path = str(Path(name) / MODEL)
    tokenizer, skeleton = load_tokenizer(model_path), load_skeleton(model_path)
    source = _rows(record, Path(name) / RUN)
    rows, length = load_rows(source, output_names(skeleton.config)), source.max_length
    metrics = TaskMetrics(rows.task.kind, rows.task.metrics, rows.task.labels)
    fit_tokenizer(model_path, tokenizer, skeleton, rows.texts)
    splits = {split: tokenize(split, part, tokenizer, length, texts=True) for split, part in rows.splits.items()}
    chosen = _chosen(config, splits)
    _check_rows(config, name, source, changed_splits(record, splits, metrics.kind), chosen)

    def outputs() -> Outputs:
        model: Any = load_classifier(model_path, safetensors_only=True)
        return Outputs(_predict(model, chosen, tokenizer, _precision(config, record)))

    def texts(split: str) -> np.ndarray | None:
        return chosen[split].column(TEXT_HASH)

    return MeasuredRun(name, _of_model(metrics, skeleton, model_path), chosen, texts, outputs)


def _predict(model: Any, splits: Mapping[str, Split], tokenizer: Any, precision: str) -> Logits:
    accelerator = make_accelerator(precision)
    model = prepare_for_cls(model, accelerator.device)
    return {name: predict(model, part, tokenizer.pad_token_id, accelerator) for name, part in splits.items()}


def _precision(config: EvaluateConfig, record: Mapping[str, Any]) -> str:
    """Return the precision to compute in: by default that of the run's training where the hardware computes in it."""
    return resolve_precision(config.precision, record["config"].get("precision"))


def _chosen(config: EvaluateConfig, splits: dict[str, Split]) -> dict[str, Split]:
    """Return the splits of --split. Raises `BadOption` if none of them has a label."""
    chosen = splits_of_role(splits, config.split)
    if not any(part.labelled for part in chosen.values()):
        raise BadOption(f"split {config.split} does not have labels to measure against. Use another --split")
    return chosen


def _of_model(metrics: TaskMetrics, model: Any, path: str) -> TaskMetrics:
    try:
        return metrics.of_model(model.config)
    except ValueError as error:
        raise BadRun(f"{path}: its configuration is damaged ({error}). Train the run again") from error


def _cache(given: Any, recorded: Any) -> Cache | None:
    """Return the cache, or the joined ones, that are named, by default those of the run; None for a run without any."""
    names = values_of(given) or values_of(recorded)
    check_caches_exist(() if given else names)
    return open_caches(names) if names else None


def _rows(record: dict[str, Any], file: Path) -> RowsConfig:
    """Return where the rows of a teacher's run are. Raises `BadRows` if they are no longer there, `BadRun`."""
    recorded = as_recorded(RowsConfig, record.get("rows"), file, "Name a cache of its task with --cache")
    if (place := missing(vars(recorded))) is not None:
        raise BadRows(
            f"the rows of this run were {name_of(place)}, which does not exist. Go to the directory where it was "
            "trained, or name a cache of its task with --cache"
        )
    return recorded


def _check_rows(
    config: EvaluateConfig, name: str, rows: RowsConfig, changed: Iterable[str], measured: Iterable[str]
) -> None:
    """Name the splits whose rows changed. Raises `BadRows` for one that is to be measured, unless it is allowed."""
    for split in changed:
        files = rows.dev_file if role_of(split) == DEV and not rows.dev_fraction else rows.train_file
        place = ", ".join(map(name_of, values_of(files))) or name_of(str(rows.dataset or rows.data_dir or rows.task))
        fact = f"{place}: the rows or labels of {split} are not those that {name_of(name)} was trained with"
        if split in measured and not config.allow_changed_rows:
            raise BadRows(f"{fact}. Restore them, or measure these with --allow-changed-rows")
        note(f"warning: {fact}")


def _check_cache(cache: Cache, record: dict[str, Any], tokenizer: Any, names: tuple[str, ...]) -> Cache:
    """Return the cache with the tokens of the run's model.

    Raises `BadCache` for a cache of other tokens or classes than the model has, or of another identity.
    """
    identity = record.get("inputs", {}).get("cache")
    if identity:
        check_identity_of_run(cache, identity)
    task = record["config"].get("task", cache.manifest.task.name)
    if task != cache.manifest.task.name:
        raise BadCache(f"{cache.location} is of task {cache.manifest.task.name}, and this run of {task}. Name another")
    labels = cache.manifest.task.labels
    if labels and labels != names:
        raise BadCache(
            f"{cache.location} has the classes {listed(labels)}, and this run {listed(names)}, in this order. Name "
            "another --cache"
        )
    if record["result"].get("student_tokenizer") == "own":
        return _retokenized(cache, record, tokenizer)
    if not is_tokenizer(tokenizer, cache.manifest.fields.teacher_tokenizer):
        raise BadCache(f"{cache.location} was tokenized for another model than this run's. Name another --cache")
    return cache


def _retokenized(cache: Cache, record: dict[str, Any], tokenizer: Any) -> Cache:
    """Return the cache with the tokens that the run's own tokenizer makes of its texts."""
    length = record.get("max_length")
    if not isinstance(length, int) or length < 1:
        raise BadRun(f"{RUN} of this run is damaged (max_length {length!s:.30}). Train the run again")
    return with_own_tokens(cache, tokenizer, length, TokenStore.of_user())
