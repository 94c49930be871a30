"""Measure a finished run again: on its cache, on another copy of it, or on the rows of its task."""

import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.format.columns import LOGITS
from pipeline.cache.open import open_caches
from pipeline.cache.reader import Cache, splits_of_role
from pipeline.cache.token_store import TokenStore
from pipeline.config.options import values_of
from pipeline.config.rows import RowsConfig
from pipeline.config.training import EvaluateConfig
from pipeline.data.labels.label_names import listed
from pipeline.data.rows.sources import load_rows
from pipeline.data.tables.places import missing, name_of
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import DEV, role_of
from pipeline.data.tokenize import tokenize
from pipeline.distillation.own_tokens import with_own_tokens
from pipeline.errors import BadCache, BadOption, BadRows, BadRun
from pipeline.models.accelerator import make_accelerator, prepare_for_cls, resolve_precision
from pipeline.models.checkpoints import load_classifier, load_tokenizer, output_names
from pipeline.models.inputs import fit_tokenizer, leave_out_segments
from pipeline.models.tokenizer import is_tokenizer
from pipeline.system.cpu import require_single_process
from pipeline.system.progress import note
from pipeline.training.learner import predict
from pipeline.training.run_reader import MODEL, RUN, as_recorded, read_run
from pipeline.training.trained_rows import changed_splits


@dataclass(frozen=True)
class EvaluateResult:
    """The result of `evaluate`."""

    command: str
    out: str
    seconds: float
    metrics: dict[str, dict[str, float]]
    examples: dict[str, int]
    agreement: dict[str, float]  # with the cached teacher; empty without a cache


def run(config: EvaluateConfig) -> EvaluateResult:
    """Measure every labelled split of --split. Raises a `DistillError`, for a split without labels too."""
    require_single_process("evaluate")
    started = time.monotonic()
    directory = Path(config.run)
    record = read_run(directory)
    model_path = str(directory / MODEL)
    if not (directory / MODEL).is_dir():
        raise BadRun(f"{directory} does not have its {MODEL}/ any more. Take it from a copy, or train the run again")
    tokenizer = load_tokenizer(model_path)
    model: Any = load_classifier(model_path, safetensors_only=True)
    cache = _cache(config.cache, record.get("cache"))
    if cache:
        cache = _check_cache(cache, record, tokenizer, output_names(model.config))
        metrics, splits = cache.manifest.task_metrics.judged_by(record["config"].get("metric")), cache.splits
        leave_out_segments(model, cache.tokens.segments)
    else:
        source = _rows(record, directory / RUN)
        rows, length = load_rows(source, output_names(model.config)), source.max_length
        metrics = TaskMetrics(rows.task.kind, rows.task.metrics, rows.task.labels)
        fit_tokenizer(model_path, tokenizer, model, rows.texts)
        splits = {name: tokenize(name, part, tokenizer, length) for name, part in rows.splits.items()}
    chosen = splits_of_role(splits, config.split)
    if not cache:
        _check_rows(config, source, changed_splits(record, splits, metrics.kind), chosen)
    if not any(part.labelled for part in chosen.values()):
        raise BadOption(f"split {config.split} does not have labels to measure against. Use another --split")
    try:
        metrics = metrics.of_model(model.config)
    except ValueError as error:
        raise BadRun(f"{model_path}: its configuration is damaged ({error}). Train the run again") from error
    accelerator = make_accelerator(resolve_precision(config.precision))
    model = prepare_for_cls(model, accelerator.device)
    with cache.check_in_background(_columns(cache, chosen)) if cache else nullcontext() as check:
        logits = {name: predict(model, part, tokenizer.pad_token_id, accelerator) for name, part in chosen.items()}
        agreement = metrics.agreements(logits, chosen, cache.manifest.kind) if cache else {}
        if check:
            check.wait()
    return EvaluateResult(
        "evaluate",
        str(directory),
        round(time.monotonic() - started, 2),
        metrics.measure_splits(logits, chosen),
        {name: len(part) for name, part in chosen.items()},
        agreement,
    )


def _columns(cache: Cache, splits: Iterable[str]) -> dict[str, list[str]]:
    """Return what is read of these splits: inputs, and the teacher's logits for the agreement."""
    return {name: [*cache.input_columns, LOGITS] for name in splits}


def _cache(given: Any, recorded: Any) -> Cache | None:
    """Return the cache, or the joined ones, that are named, by default those of the run; None for a run without any."""
    names = values_of(given) or values_of(recorded)
    for name in () if given else names:
        if "://" not in name and not Path(name).is_dir():
            beside = " beside the others of the run" if len(names) > 1 else ""
            raise BadCache(
                f"the cache of this run was {name}, which does not exist. Name its present place with --cache{beside}"
            )
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


def _check_rows(config: EvaluateConfig, rows: RowsConfig, changed: Iterable[str], measured: Iterable[str]) -> None:
    """Name the splits whose rows changed. Raises `BadRows` for one that is to be measured, unless it is allowed."""
    for split in changed:
        files = rows.dev_file if role_of(split) == DEV and not rows.dev_fraction else rows.train_file
        place = ", ".join(map(name_of, values_of(files))) or name_of(str(rows.dataset or rows.data_dir or rows.task))
        fact = f"{place}: the rows or labels of {split} are not those that {name_of(config.run)} was trained with"
        if split in measured and not config.allow_changed_rows:
            raise BadRows(f"{fact}. Restore them, or measure these with --allow-changed-rows")
        note(f"warning: {fact}")


def _check_cache(cache: Cache, record: dict[str, Any], tokenizer: Any, names: tuple[str, ...]) -> Cache:
    """Return the cache with the tokens of the run's model.

    Raises `BadCache` for a cache of other tokens or classes than the model has, or of another identity.
    """
    identity = record.get("inputs", {}).get("cache")
    if identity and cache.identity != identity:
        raise BadCache(
            f"{cache.location} is not the cache of this run (identity {cache.identity[:12]}… ≠ {identity[:12]}…). Name "
            "the right one with --cache, or all if it was trained on several"
        )
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
