"""The training of students from a cache: alone, in a pack, to the end or up to a step."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.format.columns import LOGITS
from pipeline.cache.open import open_caches
from pipeline.cache.reader import Cache
from pipeline.config.training import TrainStudentConfig
from pipeline.data.splits import Split, selection_split
from pipeline.data.tasks import DEV, role_of
from pipeline.data.training_set import TrainingSet
from pipeline.distillation.initial_layers import TEACHER
from pipeline.distillation.initial_student import initial_student
from pipeline.distillation.own_tokens import with_tokens_for
from pipeline.distillation.recipe import (
    StudentRecipe,
    check_identity,
    check_labels,
    resolve_recipe,
    training_set,
    training_split,
    training_splits,
)
from pipeline.distillation.targets import CachedTargets
from pipeline.distillation.unsure_teacher import unsure_teacher
from pipeline.errors import BadOption, BadRun, DistillError
from pipeline.models.accelerator import make_accelerator
from pipeline.models.encoders import parameter_count
from pipeline.models.inputs import segment_rows
from pipeline.system.progress import note
from pipeline.training.dev_record import dev_record
from pipeline.training.input_record import InputRecord
from pipeline.training.learner import EncoderLearner, seed_everything
from pipeline.training.loop import PackTraining
from pipeline.training.pack import check_alike
from pipeline.training.pack_member import PackMember, Schedule
from pipeline.training.run_directory import RunDirectory
from pipeline.training.trackers.table import check_tracker
from pipeline.training.training_state import PausedTraining, Progress, TrainingResult

Watch = Callable[[int, Progress], None]


@dataclass(frozen=True)
class StudentResult:
    """The result of `train-student`, as its last line and run.json have it."""

    command: str
    out: str
    seconds: float
    metrics: dict[str, dict[str, float]]  # of each labelled dev split
    agreement: dict[str, float]  # with the cached teacher, of each dev split
    parameters: int
    train_examples_per_second: float
    cache_identity: str
    method: str
    student_layers: int
    teacher_layers: list[int]
    labelled_examples: int | None = None  # that it was trained on; None in runs of version 0.1
    unlabelled_examples: int | None = None
    student_tokenizer: str = "teacher"  # or own: that of the checkpoint that it started from
    projected: bool = False  # whether its [CLS] vectors were compared after learned maps


def advance(
    config: TrainStudentConfig, until: int | None = None, watch: Callable[[Progress], None] | None = None
) -> StudentResult | PausedTraining:
    """Train a student, up to step `until` where that is before the end, and write its run.

    A finished run of the same recipe is returned. `watch` is called after every step, and then no bar is shown. A
    training that is advanced in pieces ends as one that is not. Raises a `DistillError`.
    """
    [result] = advance_pack([config], until, (lambda _place, progress: watch(progress)) if watch else None)
    if isinstance(result, DistillError):
        raise result
    return result


def advance_pack(
    configs: Sequence[TrainStudentConfig], until: int | None = None, watch: Watch | None = None
) -> list[StudentResult | PausedTraining | DistillError]:
    """Train several students of one cache that read the same batches, as one model; `advance` for each of them.

    Each has a run of its own, and its result, or what went wrong, in its place in the list. Whatever was paused or
    interrupted goes on alone, or in any other pack. Seconds, and examples per second, are those of the pack while the
    student was in it. Raises `BadOption` for students that cannot be packed, and what makes their cache unusable.
    """
    started = time.monotonic()
    for config in configs:
        check_tracker(config.track)
    pack_data = open_pack_data(configs)
    results: dict[int, StudentResult | PausedTraining | DistillError] = {}
    students: dict[int, _Student] = {}
    for place in range(len(configs)):
        try:
            student = _student(place, pack_data)
            if (finished := student.run.finished(StudentResult)) is None:
                students[place] = student
            else:
                note(f"{student.run.path} is already this run, complete")
                results[place] = finished
        except DistillError as error:
            results[place] = error
    if students and watch is None:
        for line in remarks(pack_data.recipes, pack_data.examples, pack_data.cache):
            note(line)
    if students:
        results |= _train(students, pack_data, started, until, watch)
    return [results[place] for place in range(len(configs))]


def remarks(recipes: Iterable[StudentRecipe], examples: Iterable[TrainingSet], cache: Cache) -> list[str]:
    """Return what a user should know before these students of a cache are trained."""
    pairs = zip(recipes, examples, strict=True)
    unsure = (unsure_teacher(recipe.objective, chosen) for recipe, chosen in pairs)
    return [*cache.remarks, *dict.fromkeys(line for line in unsure if line)]


@dataclass(frozen=True)
class PackData:
    """The recipes of a pack of students, and everything that they read."""

    recipes: list[StudentRecipe]
    cache: Cache
    train: Split
    examples: list[TrainingSet]  # of `train`, of each recipe
    dev: dict[str, Split]
    selection: Split | None  # the dev split on which they are evaluated
    check: Any  # of what they read, in the background


def open_pack_data(configs: Sequence[TrainStudentConfig]) -> PackData:
    """Open the cache of a pack. Raises a `DistillError` for a cache that cannot be used by one of the students."""
    first = configs[0]
    check_alike([{"cache": config.cache} for config in configs])
    cache = open_caches(first.caches, Path(first.store) if first.store else None, first.store_bytes)
    for config in configs:
        check_identity(config, cache)
    recipes = [resolve_recipe(config, cache.manifest).starting_from(cache.run_inputs) for config in configs]
    check_alike([recipe.alike_in_pack for recipe in recipes])
    is_own_model = first.init != TEACHER  # alike in a pack
    if is_own_model and cache.manifest.has_teacher:
        cache.check_teacher(set())  # its tokenizer is compared with the student's
    cache = with_tokens_for(first, cache)
    objective = max((recipe.objective for recipe in recipes), key=lambda objective: len(objective.columns))
    train = training_split(cache, objective)
    dev = {name: split for name, split in cache.splits.items() if role_of(name) == DEV}
    selection = selection_split(dev)
    if selection is None and any(config.select == "best" for config in configs):
        raise BadOption(
            f"--select best needs a labelled dev split, and {cache.location} does not have one. Use --select last"
        )
    targets = {column for recipe in recipes for column in recipe.objective.columns}
    columns = {name: [*cache.input_columns, *sorted(targets)] for name in training_splits(cache, objective)}
    columns |= {name: [*cache.input_columns, LOGITS] for name in dev}
    check = cache.check_in_background(columns)
    if not is_own_model:  # after the columns are known to fit into the store: nothing is fetched before
        cache.check_teacher({layer for recipe in recipes for layer in recipe.init_layers})
    recipes = [recipe.weighted(cache) for recipe in recipes]
    examples = [training_set(recipe, train) for recipe in recipes]
    for recipe, chosen in zip(recipes, examples, strict=True):
        check_labels(recipe, chosen, cache)
    return PackData(recipes, cache, train, examples, dev, dev[selection] if selection else None, check)


@dataclass(frozen=True)
class _Student:
    """A student before its training: its recipe, its first weights, and its directory."""

    recipe: StudentRecipe
    examples: TrainingSet
    model: Any
    run: RunDirectory

    def member(self, pack_data: PackData, accelerator: Any) -> PackMember:
        """Return it as a member of a pack."""
        manifest, config = pack_data.cache.manifest, self.recipe.config
        maps = self.recipe.cls_maps(self.model, manifest.model.hidden)
        pad_id = pack_data.cache.tokens.pad_id
        learner = EncoderLearner(self.model, self.recipe.objective, config, accelerator, pad_id, maps)
        schedule = Schedule.of_training(config, self.examples)
        return PackMember(learner, schedule, config, self.run, self.recipe.metrics, self.recipe.alike_in_pack)


def _student(place: int, pack_data: PackData) -> _Student:
    """Return a student with its first weights. Raises a `DistillError` for a checkpoint that cannot be used."""
    cache, recipe = pack_data.cache, pack_data.recipes[place]
    seed_everything(recipe.config.seed)
    model, recipe = initial_student(recipe, cache)
    out = Path(recipe.config.out or recipe.default_out(cache.manifest.task.name))
    run = RunDirectory(out, "train-student", recipe.options, recipe.inputs)
    run.track(recipe.config.track, cache.manifest.task.name, recipe.config.track_group)
    return _Student(recipe, pack_data.examples[place], model, run)


def _train(
    students: dict[int, _Student], pack_data: PackData, started: float, until: int | None, watch: Watch | None
) -> dict[int, StudentResult | PausedTraining | DistillError]:
    """Train these as one, and complete each when it is finished. Keys are the places in the pack."""
    first, *rest = students.values()
    task = pack_data.cache.manifest.task.name
    description = f"{len(students)} students {task}" if rest else f"{first.recipe.method.name} {task}"
    accelerator = make_accelerator(first.recipe.precision)
    members = {place: student.member(pack_data, accelerator) for place, student in students.items()}
    targets, check = CachedTargets(pack_data.train), pack_data.check
    training = PackTraining(
        members, first.examples, targets, pack_data.selection, accelerator, description, check, watch
    )
    results: dict[int, StudentResult | PausedTraining | DistillError] = {}
    with ExitStack() as everything:
        claims = {place: everything.enter_context(ExitStack()) for place in students}
        for place, student in students.items():
            try:
                claims[place].enter_context(student.run.claimed(accelerator, student.recipe.config.resume))
            except BadRun as error:
                members[place].outcome = error
        everything.enter_context(check)
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
    """Evaluate the weights that were kept, and write the run."""
    manifest, recipe = pack_data.cache.manifest, student.recipe
    logits = {name: learner.predict(split) for name, split in pack_data.dev.items()}
    metrics = recipe.metrics
    if (selection := pack_data.selection) is not None:
        metrics = metrics.tuned(logits[selection.name], selection.labels)
    learner.configure(metrics.kind)
    agreement = metrics.agreements(logits, pack_data.dev, manifest.kind)
    pack_data.check.wait()  # a run counts only on verified bytes
    result = StudentResult(
        "train-student",
        str(student.run.path),
        round(time.monotonic() - started, 2),
        metrics.measure_splits(logits, pack_data.dev),
        agreement,
        parameter_count(learner.bare),
        round(trained.examples_per_second, 1),
        pack_data.cache.identity,
        recipe.method.name,
        recipe.depth,
        list(recipe.layers),
        student.examples.labelled,
        student.examples.unlabelled,
        student_tokenizer=pack_data.cache.tokens.name,
        projected=recipe.config.project,
    )
    tokens = pack_data.cache.tokens
    segments = segment_rows(learner.bare) >= tokens.segments
    student.run.complete(
        learner,
        lambda target: tokens.save(target, segments),
        {name: metrics.kind.stored(values) for name, values in logits.items()},
        result,
        {
            "cache": recipe.config.cache,
            **InputRecord.of_cache(manifest, tokens.max_length).as_json(),
            **trained.as_json(),
            **dev_record(metrics, logits, pack_data.dev),
            "teacher": {"name": manifest.teacher_called, "metrics": manifest.teacher_metrics},
        },
    )
    return result
