"""Train a student from a cache. The teacher's upper layers are not loaded, the task's rows are not read."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.background_check import Verification
from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.cache.teacher_files import copy_tokenizer
from pipeline.config.options import option_name
from pipeline.config.training import TrainStudentConfig
from pipeline.data.metrics import agreements, measure_splits
from pipeline.data.splits import Split
from pipeline.data.tasks import DEV, TRAIN, role_of
from pipeline.distillation.recipe import (
    canonical,
    check_identity,
    default_out,
    initial_student,
    objective,
    training_split,
)
from pipeline.distillation.targets import CachedTargets
from pipeline.errors import BadOption, BadRun, DistillError
from pipeline.models.accelerator import make_accelerator
from pipeline.models.encoders import parameter_count
from pipeline.system.progress import note
from pipeline.training.learner import EncoderLearner, seed_everything
from pipeline.training.loop import PackTraining
from pipeline.training.pack_member import PackMember, Schedule
from pipeline.training.run_directory import RunDirectory
from pipeline.training.training_state import PausedTraining, Progress, TrainingResult


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


Result = StudentResult | PausedTraining | DistillError


def run(config: TrainStudentConfig) -> StudentResult:
    """Train, keep the selected weights, and write the run. A finished run of the same configuration is returned.

    Raises a `DistillError` for caches, options and directories that cannot be used.
    """
    result = advance(config)
    assert isinstance(result, StudentResult)
    return result


def advance(
    config: TrainStudentConfig, until: int | None = None, watch: Callable[[Progress], None] | None = None
) -> StudentResult | PausedTraining:
    """`run`, up to step `until` where that is before the end; `watch` is told of every step, and then no bar is shown.

    A training that is advanced in pieces ends as one that is not.
    """
    [result] = advance_pack([config], until, (lambda _place, progress: watch(progress)) if watch else None)
    if isinstance(result, DistillError):
        raise result
    return result


def advance_pack(
    configs: Sequence[TrainStudentConfig],
    until: int | None = None,
    watch: Callable[[int, Progress], None] | None = None,
) -> list[Result]:
    """`advance` for several students of one cache that read the same batches, trained as one model.

    Each has a run of its own, and in the list, in the order of `configs`, what became of it; `watch` is told its place
    there. Whatever was paused or interrupted goes on alone, or in any other pack. Seconds, and examples a second, are
    those of the pack while the student was in it. Raises `BadOption` for students that cannot be packed, and what
    makes their cache unusable.
    """
    started = time.monotonic()
    pack_data = open_pack_data(configs)
    results: dict[int, Result] = {}
    students: dict[int, _Student] = {}
    for place, config in enumerate(configs):
        try:
            student = _student(config, pack_data)
            if (finished := student.run.finished()) is None:
                students[place] = student
            else:
                note(f"{student.run.path} is already this run, complete")
                results[place] = StudentResult(**finished)
        except DistillError as error:
            results[place] = error
    if students:
        results |= _train(students, pack_data, started, until, watch)
    return [results[place] for place in range(len(configs))]


@dataclass(frozen=True)
class PackData:
    """What the students of a pack read."""

    cache: Cache
    train: Split
    dev: dict[str, Split]
    judge: Split | None  # the dev split on which they are judged
    verification: Verification


def open_pack_data(configs: Sequence[TrainStudentConfig]) -> PackData:
    """Raises a `DistillError` for a cache that cannot be used by one of them."""
    location = configs[0].cache
    if any(config.cache != location for config in configs):
        raise BadOption("students of a pack read one cache, and these name several. Train them apart")
    cache = open_cache(location, Path(configs[0].store) if configs[0].store else None, configs[0].store_bytes)
    for config in configs:
        if config.expect_identity is not None:
            check_identity(config, cache.manifest.identity)
    settings = [canonical(config, cache.manifest) for config in configs]
    for name in ("student_layers", "precision"):
        if len(found := {own[name] for own in settings}) > 1:
            values = " and ".join(map(str, sorted(found)))
            raise BadOption(
                f"students of a pack are alike, and these have {option_name(name)} {values}. Train them apart"
            )
    train = training_split(cache, location)
    dev = {name: split for name, split in cache.splits.items() if role_of(name) == DEV}
    judge = next((split for split in dev.values() if split.labelled), None)
    if judge is None and any(config.select == "best" for config in configs):
        raise BadOption(f"--select best judges on a dev split, and {location} has none. Use --select last")
    layers = sorted({layer for own in settings for layer in own["teacher_layers"] or ()})
    verification = cache.verification([TRAIN, *dev], train=TRAIN, layers=layers)
    cache.check_teacher(settings[0]["student_layers"])
    return PackData(cache, train, dev, judge, verification)


@dataclass(frozen=True)
class _Student:
    """One student before its training: its canonical configuration, its first weights, and its directory."""

    config: TrainStudentConfig
    settings: dict[str, Any]
    model: Any
    run: RunDirectory

    def member(self, pack_data: PackData, accelerator: Any) -> PackMember:
        manifest = pack_data.cache.manifest
        learner = EncoderLearner(self.model, objective(self.settings), self.config, accelerator, manifest.model.pad_id)
        schedule = Schedule.of(self.config, pack_data.train.lengths)
        distils = self.settings["method"] != "ft"
        return PackMember(learner, schedule, self.config, self.run, manifest.task.metrics, distils)


def _student(config: TrainStudentConfig, pack_data: PackData) -> _Student:
    """Raises a `DistillError` for a checkpoint that cannot be used."""
    cache = pack_data.cache
    settings = canonical(config, cache.manifest)
    seed_everything(config.seed)
    model, inputs = initial_student(config.init, cache, settings["student_layers"], settings["method"])
    inputs["cache"] = cache.manifest.identity
    out = Path(config.out or default_out(cache.manifest.task.name, settings, inputs))
    return _Student(config, settings, model, RunDirectory(out, "train-student", settings, inputs))


def _train(
    students: dict[int, _Student],
    pack_data: PackData,
    started: float,
    until: int | None,
    watch: Callable[[int, Progress], None] | None,
) -> dict[int, Result]:
    """Train these as one, and complete each when it comes to its end. Places are those in the pack."""
    first, *others = students.values()
    task = pack_data.cache.manifest.task.name
    description = f"{len(students)} students {task}" if others else f"{first.settings['method']} {task}"
    accelerator = make_accelerator(first.settings["precision"])
    members = {place: student.member(pack_data, accelerator) for place, student in students.items()}
    signals = CachedTargets(pack_data.train) if any(member.distils for member in members.values()) else None
    training = PackTraining(
        members, pack_data.train, signals, pack_data.judge, accelerator, description, pack_data.verification, watch
    )
    results: dict[int, Result] = {}
    with ExitStack() as everything:
        claims = {place: everything.enter_context(ExitStack()) for place in students}
        for place, student in students.items():
            try:
                claims[place].enter_context(student.run.claimed(accelerator, student.config.resume))
            except BadRun as error:
                members[place].outcome = error
        everything.enter_context(pack_data.verification)
        for place, outcome in training.train(until):
            student, member = students.pop(place), members.pop(place)
            try:
                if isinstance(outcome, TrainingResult):
                    results[place] = _complete(student, member.learner, pack_data, outcome, started)
                else:
                    results[place] = outcome
            except DistillError as error:
                results[place] = error
            member.learner.release()
            claims[place].close()
    return results


def _complete(
    student: _Student, learner: EncoderLearner, pack_data: PackData, trained: TrainingResult, started: float
) -> StudentResult:
    """Measure the weights that were kept, and write the run."""
    manifest, settings = pack_data.cache.manifest, student.settings
    logits = {name: learner.predict(split) for name, split in pack_data.dev.items()}
    agreement = agreements(logits, pack_data.dev)
    pack_data.verification.wait()  # a run counts only on verified bytes
    result = StudentResult(
        "train-student",
        str(student.run.path),
        round(time.monotonic() - started, 2),
        measure_splits(manifest.task.metrics, logits, pack_data.dev),
        agreement,
        parameter_count(learner.bare),
        round(trained.examples_per_second, 1),
        manifest.identity,
        settings["method"],
        settings["student_layers"],
        settings["teacher_layers"] or [],
    )
    student.run.complete(
        learner,
        lambda target: copy_tokenizer(pack_data.cache.teacher, manifest.teacher_files, target),
        logits,
        result,
        {"cache": student.config.cache, **trained.as_json()},
    )
    return result
