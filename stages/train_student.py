"""Train a student from a cache. The teacher's upper layers are not loaded, the task's rows are not read."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.bundle import copy_tokenizer, student_from_bundle
from pipeline.cache.manifest import Manifest
from pipeline.cache.reader import Cache, open_cache
from pipeline.checkpoints import load_classifier, load_config, load_tokenizer, locate
from pipeline.compute import accelerator, resolve_precision
from pipeline.encoders import depth_of, parameter_count
from pipeline.errors import BadCache, BadModel, BadOption, to_type
from pipeline.fingerprint import config_digest, json_digest, tokenizer_digest, weights_digest
from pipeline.learner import EncoderLearner, seed_everything
from pipeline.loop import Training
from pipeline.losses import Objective
from pipeline.metrics import agreements, measure_splits
from pipeline.patience import patient_layers, student_depth
from pipeline.position import Paused, Progress
from pipeline.progress import note
from pipeline.runs import RunDirectory
from pipeline.signals import CachedSignals
from pipeline.tasks import DEV, TRAIN, role_of
from stages.configs import TrainStudentConfig


@dataclass(frozen=True)
class StudentResult:
    command: str
    out: str
    seconds: float
    metrics: dict[str, dict[str, float]]
    agreement: dict[str, float]
    parameters: int
    train_examples_per_second: float
    cache_identity: str
    method: str
    student_layers: int
    teacher_layers: list[int]


def canonical(config: TrainStudentConfig, manifest: Manifest) -> dict[str, Any]:
    """The configuration with its defaults resolved and without what has no meaning for its method: null there.

    Raises `BadOption` for layers that do not fit the cache.
    """
    depth = student_depth(config.student_layers, manifest.model.depth)
    method, layers = patient_layers(config.method, config.teacher_layers, depth, manifest.model.depth, manifest.layers)
    values = config.outcome() | {
        "method": method,
        "student_layers": depth,
        "teacher_layers": list(layers) or None,
        "precision": resolve_precision(config.precision),
    }
    meaningless = []
    if method == "ft":
        meaningless += ["temperature", "alpha", "beta", "reduction"]
    elif method == "kd":
        meaningless += ["beta"]
    if manifest.task.labels is None:
        meaningless += ["temperature"] + ["reduction"] * (method == "kd")
    return values | dict.fromkeys(meaningless)


def run(config: TrainStudentConfig) -> StudentResult:
    """Train, keep the selected weights, and write the run. A finished run of the same configuration is returned.

    Raises a `DistillError` for caches, options and directories that cannot be used.
    """
    result = advance(config)
    assert isinstance(result, StudentResult)
    return result


def advance(
    config: TrainStudentConfig, until: int | None = None, watch: Callable[[Progress], None] | None = None
) -> StudentResult | Paused:
    """`run`, up to step `until` where that is before the end; `watch` is told of every step, and then no bar is shown.

    A training that is advanced in pieces ends as one that is not.
    """
    started = time.monotonic()
    cache = open_cache(config.cache, Path(config.store) if config.store else None, config.store_bytes)
    manifest = cache.manifest
    if config.expect_identity is not None:
        _check_identity(config, manifest.identity)
    settings = canonical(config, manifest)
    train = cache.splits.get(TRAIN)
    if train is None or not train.labelled:
        raise BadCache(f"{config.cache} has no labelled training split. Cache one with --train-file")
    dev = {name: split for name, split in cache.splits.items() if role_of(name) == DEV}
    judge = next((split for split in dev.values() if split.labelled), None)
    if judge is None and config.select == "best":
        raise BadOption(f"--select best judges on a dev split, and {config.cache} has none. Use --select last")
    layers = settings["teacher_layers"] or []
    verification = cache.verification([TRAIN, *dev], train=TRAIN, layers=layers)
    cache.check_teacher(settings["student_layers"])
    seed_everything(config.seed)
    model, inputs = _initial_student(config.init, cache, settings["student_layers"], settings["method"])
    inputs["cache"] = manifest.identity
    out = Path(config.out or default_out(manifest.task.name, settings, inputs))
    directory = RunDirectory(out, "train-student", settings, inputs)
    if (finished := directory.finished()) is not None:
        note(f"{out} is already this run, complete")
        return StudentResult(**finished)
    compute = accelerator(settings["precision"])
    with directory.claimed(compute, config.resume), verification:
        learner = EncoderLearner(model, objective(settings), config, compute, manifest.model.pad_id)
        signals = None if settings["method"] == "ft" else CachedSignals(train)
        description = f"{settings['method']} {manifest.task.name}"
        training = Training(
            learner,
            train,
            signals,
            judge,
            manifest.task.metrics,
            config,
            compute,
            directory,
            description,
            verification,
            watch,
        )
        trained = training.train(until)
        if isinstance(trained, Paused):
            return trained
        logits = {name: learner.predict(split) for name, split in dev.items()}
        agreement = agreements(logits, dev)
        verification.wait()  # a run counts only on verified bytes
        result = StudentResult(
            "train-student",
            str(out),
            round(time.monotonic() - started, 2),
            measure_splits(manifest.task.metrics, logits, dev),
            agreement,
            parameter_count(learner.bare),
            round(trained.examples_per_second, 1),
            manifest.identity,
            settings["method"],
            settings["student_layers"],
            settings["teacher_layers"] or [],
        )
        directory.complete(
            learner,
            lambda target: copy_tokenizer(cache.teacher, manifest.teacher_files, target),
            logits,
            result,
            {"cache": config.cache, **trained.as_json()},
        )
    return result


def _check_identity(config: TrainStudentConfig, identity: str) -> None:
    expected = config.expect_identity or ""
    if len(expected) < 12 or not identity.startswith(expected.lower()):
        raise BadCache(
            f"{config.cache} has the identity {identity}, not {expected or 'an empty one'} (12 digits or more). "
            f"See what it is: {to_type('cache', 'info', config.cache)}"
        )


def objective(settings: dict[str, Any]) -> Objective:
    """The loss of a canonical configuration; what has no meaning there has no weight here."""
    return Objective(
        settings["alpha"] or 0.0,
        (settings["beta"] or 0.0) if settings["teacher_layers"] else 0.0,
        settings["temperature"] or 1.0,
        settings["reduction"] or "reference",
        tuple(settings["teacher_layers"] or ()),
    )


def default_out(task: str, settings: dict[str, Any], inputs: dict[str, str]) -> str:
    """The run directory of a configuration that names none."""
    digest = json_digest([settings, inputs])[:8]
    return f"runs/{task}/{settings['method']}-{settings['student_layers']}-{digest}"


def _initial_student(init: str, cache: Cache, layers: int, method: str) -> tuple[Any, dict[str, str]]:
    """The student before training, and the digest of where it starts from unless that is the cache's teacher."""
    if init == "teacher":
        return student_from_bundle(cache.teacher, layers, cache.manifest.model.depth), {}
    model_record, task = cache.manifest.model, cache.manifest.task
    name = locate(init)
    config = load_config(name)
    if depth_of(config) < layers:
        raise BadModel(f"--init {init} has only {depth_of(config)} layers. Try --student-layers {depth_of(config)}")
    if tokenizer_digest(load_tokenizer(name)) != tokenizer_digest(load_tokenizer(str(cache.teacher))):
        raise BadModel(
            f"--init {init} has another tokenizer than the teacher, so its tokens mean something else. "
            "Start from a checkpoint with the teacher's tokenizer"
        )
    if method.startswith("pkd") and config.hidden_size != model_record.hidden:
        raise BadOption(
            f"--init {init} is {config.hidden_size} wide and the teacher {model_record.hidden}: their [CLS] vectors "
            "cannot be compared. Use --method kd"
        )
    model = load_classifier(name, classes=model_record.classes, labels=task.labels, layers=layers)
    return model, {"init": weights_digest(model.state_dict()), "init_config": config_digest(model.config)}
