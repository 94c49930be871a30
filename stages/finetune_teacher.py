"""Fine-tune a pre-trained encoder on a task: the teacher."""

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.config.rows import RowsConfig
from pipeline.config.training import FinetuneTeacherConfig
from pipeline.data.labels.label_summary import summary
from pipeline.data.rows.sources import load_rows
from pipeline.data.splits import Split, rows_digest, selection_split
from pipeline.data.task_kinds import check_class_weights, weighted
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import DEV, TASKS, TRAIN, role_of
from pipeline.data.tokenize import tokenize
from pipeline.distillation.objective import Objective
from pipeline.distillation.targets import NoTargets
from pipeline.errors import BadOption
from pipeline.models.accelerator import make_accelerator, resolve_precision
from pipeline.models.checkpoints import load_classifier, load_tokenizer, locate, start_head
from pipeline.models.encoders import parameter_count
from pipeline.models.inputs import check_max_length, fit_tokenizer
from pipeline.models.tokenizer import check_tokenizer_saves
from pipeline.system.digests import config_digest, tokenizer_digest, weights_digest
from pipeline.system.progress import note
from pipeline.teacher.preflight import check_label_names
from pipeline.training.dev_record import dev_record
from pipeline.training.input_record import InputRecord
from pipeline.training.learner import EncoderLearner, seed_everything
from pipeline.training.loop import Training
from pipeline.training.run_directory import RunDirectory
from pipeline.training.trackers.table import check_tracker
from pipeline.training.training_state import TrainingResult


@dataclass(frozen=True)
class TeacherResult:
    """The result of `finetune-teacher`, as its last line and run.json have it."""

    command: str
    out: str
    seconds: float
    metrics: dict[str, dict[str, float]]
    parameters: int
    train_examples_per_second: float


def run(config: FinetuneTeacherConfig) -> TeacherResult:
    """Train, keep the selected weights, and write the run. A finished run of the same configuration is returned.

    Raises a `DistillError` for rows, models and directories that cannot be used.
    """
    started = time.monotonic()
    check_tracker(config.track)
    rows = load_rows(config).labelled()
    task, out = rows.task, Path(config.out or f"runs/{config.task}/teacher")
    check_class_weights(task.kind, config.class_weights)
    check_label_names(task)
    name = locate(config.model)
    tokenizer = load_tokenizer(name, config.revision)
    seed_everything(config.seed)
    model = load_classifier(name, head=task.head, revision=config.revision)
    digests = _digests(model, tokenizer)
    fit_tokenizer(config.model, tokenizer, model, rows.texts)
    check_max_length(config.max_length, tokenizer, model)
    check_tokenizer_saves(config.model, tokenizer, model.config)
    splits = {
        split: tokenize(split, part, tokenizer, config.max_length)
        for split, part in rows.splits.items()
        if role_of(split) in (TRAIN, DEV)
    }
    dev = {split: part for split, part in splits.items() if split != TRAIN}
    if not dev and config.select == "best":
        raise BadOption(
            "--select best needs dev rows, and there are none. Give --dev-file, or "
            "--dev-fraction 0.1 for a part of the training rows, or use --select last"
        )
    precision = resolve_precision(config.precision)
    canonical = {**config.identity_options(), "precision": precision}
    directory = RunDirectory(out, "finetune-teacher", canonical, digests | _rows_digests(splits))
    directory.track(config.track, task.name, config.track_group)
    if (finished := directory.finished(TeacherResult)) is not None:
        note(f"{out} is already this run, complete")
        return finished
    accelerator = make_accelerator(precision)
    if accelerator.is_main_process and task.name not in TASKS:
        for line in summary(rows, splits, config.max_length):
            note(line)
    with directory.claimed(accelerator, config.resume):
        kind = weighted(task.kind, config.class_weights, splits[TRAIN].labels, task.num_logits)
        if (first := kind.first_logits(splits[TRAIN].labels)) is not None:
            start_head(model, first)
        learner = EncoderLearner(model, Objective(kind), config, accelerator, tokenizer.pad_token_id)
        metrics = TaskMetrics(task.kind, task.metrics, task.labels)
        chosen = selection_split(dev)
        selection = dev[chosen] if chosen else None
        training = Training(
            learner,
            splits[TRAIN],
            NoTargets(),
            selection,
            metrics,
            config,
            accelerator,
            directory,
            f"teacher {task.name}",
        )
        trained = training.train()
        assert isinstance(trained, TrainingResult)
        logits = {split: learner.predict(part) for split, part in dev.items()}
        if selection is not None:
            metrics = metrics.tuned(logits[selection.name], selection.labels)
        learner.configure(metrics.kind)
        result = TeacherResult(
            "finetune-teacher",
            str(out),
            round(time.monotonic() - started, 2),
            metrics.measure_splits(logits, dev),
            parameter_count(learner.bare),
            round(trained.examples_per_second, 1),
        )
        record = {
            "rows": {field.name: getattr(config, field.name) for field in fields(RowsConfig)},
            "origin": rows.origin,
            **InputRecord.of_rows(task, config).as_json(),
            **trained.as_json(),
            **dev_record(metrics, logits, dev),
        }
        stored = {split: metrics.kind.stored(values) for split, values in logits.items()}
        directory.complete(learner, tokenizer.save_pretrained, stored, result, record)
    return result


def _digests(model: Any, tokenizer: Any) -> dict[str, str]:
    """Return the digests of the checkpoint that the training starts from."""
    return {
        "weights": weights_digest(model.state_dict()),
        "config": config_digest(model.config),
        "tokenizer": tokenizer_digest(tokenizer),
    }


def _rows_digests(splits: dict[str, Split]) -> dict[str, str]:
    """Return the digests of the rows that it reads."""
    return {split: rows_digest(part.shards[0]) for split, part in splits.items()}
