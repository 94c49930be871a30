"""The trials of a space: each setting as a training, with a key of everything that this training depends on."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.cache.open import open_caches
from pipeline.cache.reader import Cache
from pipeline.config.options import command_line, default_of, marked, value_text, values_of
from pipeline.config.sweep import SweepConfig
from pipeline.config.training import TrainStudentConfig
from pipeline.data.splits import Split, selection_split
from pipeline.data.training_set import TrainingSet
from pipeline.distillation.initial_layers import TEACHER
from pipeline.distillation.initial_student import initial_student
from pipeline.distillation.own_tokens import with_tokens_for
from pipeline.distillation.recipe import StudentRecipe, check_labels, resolve_recipe, training_set, training_split
from pipeline.errors import BadCache, BadOption
from pipeline.training.learner import seed_everything
from pipeline.training.loop import Schedule
from pipeline.training.run_directory import RunDirectory
from pipeline.training.run_reader import checkpoint_step
from pipeline.training.student import StudentResult


@dataclass(frozen=True, eq=False)
class Trial:
    """One training: its recipe, the options that start it, its examples, and its length."""

    recipe: StudentRecipe
    config: TrainStudentConfig  # --out and --resume included
    examples: TrainingSet
    schedule: Schedule
    selection_split: str  # the dev split whose metric is its score

    @property
    def key(self) -> str:
        """The digest of its options and of what it starts from."""
        return self.recipe.digest

    @property
    def command(self) -> str:
        """The command line that trains it alone."""
        return command_line("train-student", replace(self.config, resume=False))

    @property
    def resolved(self) -> dict[str, Any]:
        """The options that identify it: resolved, except for teacher layers, which --method implies."""
        layers = self.config.teacher_layers
        return {**self.recipe.options, "cache": value_text(self.config.cache), "teacher_layers": layers}

    @property
    def option_values(self) -> dict[str, Any]:
        """Every option as displays and Optuna show it."""
        return with_defaults(self.resolved)

    @property
    def as_json(self) -> dict[str, Any]:
        """The attributes that a study keeps of it."""
        return {
            "shown": self.resolved,
            "method": self.recipe.method.name,
            "command": self.command,
            "out": self.config.out,
            "total": self.total,
        }

    def steps(self, share: float) -> int:
        """Return the number of steps of a share of the whole training, at least one."""
        return max(1, math.ceil(share * self.total - 1e-9))

    def result(self) -> StudentResult | None:
        """Return the result of its run if that is complete. Raises `BadRun` if something else is in its place."""
        directory = Path(self.config.out or "")
        return RunDirectory(directory, "train-student", self.recipe.options, self.recipe.inputs).finished(StudentResult)

    @property
    def total(self) -> int:
        """Optimizer steps of the whole training."""
        return self.schedule.total

    def examples_in(self, start: int, stop: int) -> int:
        """Return the number of examples in steps start..stop-1."""
        before = self.schedule.examples_before
        return before(stop, self.config.grad_accumulation) - before(start, self.config.grad_accumulation)

    @property
    def pack_key(self) -> tuple[Any, ...]:
        """The values that trials of one pack share: their batches, dev split, and the step of their checkpoints."""
        return *self.batches, self.selection_split, checkpoint_step(Path(self.config.out or ""))

    @cached_property
    def batches(self) -> tuple[Any, ...]:
        """The values that trials share if they read the same rows in the same order, step by step."""
        return self.total, len(self.schedule.order.ids), *self.recipe.alike_in_pack.values()


class Trials:
    """A maker of trials. Caches are opened once, and students other than the teacher's layers made once per seed."""

    def __init__(self, config: SweepConfig):
        self.store: dict[str, Any] = {"store": config.store, "store_bytes": config.store_bytes}
        self.runs = config.runs
        self.caches: dict[str, Cache] = {}  # by their shown locations
        self.names: dict[str, None] = {}  # of the directories of all caches, in order
        self._tokenized: dict[tuple[str, str], Cache] = {}
        self._inputs: dict[tuple[Any, ...], Mapping[str, str]] = {}
        self._splits: dict[tuple[str, ...], Split] = {}
        self._judges: list[str] = []  # the metric of the trials, once there is one

    def cache(self, locations: str | tuple[str, ...]) -> Cache:
        """Return the open cache at a location, or those at several joined."""
        name = str(value_text(locations))
        if name not in self.caches:
            store = self.store["store"]
            self.caches[name] = open_caches(locations, Path(store) if store else None, self.store["store_bytes"])
            self.names |= dict.fromkeys(Path(location).name for location in values_of(locations))
        return self.caches[name]

    def tokenized(self, config: TrainStudentConfig) -> Cache:
        """Return the open cache of a student, with the tokens that it reads: one for all that start alike."""
        key = str(value_text(config.cache)), config.init
        if key not in self._tokenized:
            cache = self.cache(config.caches)
            if cache.manifest.has_teacher and config.init != TEACHER:
                cache.check_teacher(())
            self._tokenized[key] = with_tokens_for(config, cache)
        return self._tokenized[key]

    def make(self, options: Mapping[str, Any]) -> Trial:
        """Return the trial of some options. Raises a `DistillError` for options that do not fit their cache."""
        config = TrainStudentConfig(**{**self.store, **options, "resume": True})
        cache = self.tokenized(config)
        if (dev := selection_split(cache.splits)) is None:
            raise BadCache(
                f"{cache.location} does not have a labelled dev split to compare trials on. Cache one with --dev-file"
            )
        recipe = resolve_recipe(config, cache.manifest).starting_from(cache.run_inputs)
        self._check_judge(recipe.metrics.judge)
        examples = training_set(recipe, self._training_split(recipe, cache))
        check_labels(recipe, examples, cache)
        recipe = recipe.starting_from(self._initial_digests(recipe, cache))
        config = replace(recipe.config, out=recipe.default_out(cache.manifest.task.name, self.runs))
        return Trial(recipe, config, examples, Schedule.of_training(config, examples), dev)

    def _training_split(self, recipe: StudentRecipe, cache: Cache) -> Split:
        """Return the split of a trial, one for all trials that read the same examples: it keeps their lengths."""
        split = training_split(cache, recipe.objective)
        names = (part.name for part in split.parts)
        return self._splits.setdefault((cache.location, recipe.config.init, *names), split)

    def _check_judge(self, judge: str) -> None:
        self._judges = self._judges or [judge]
        if judge != self._judges[0]:
            raise BadOption(
                f"trials are compared by one metric, and these by {self._judges[0]} and {judge}. Write one metric "
                "into the space"
            )

    def _initial_digests(self, recipe: StudentRecipe, cache: Cache) -> Mapping[str, str]:
        """Return the digests of what a student starts from, made once for each seed: a new head is drawn with it."""
        config = recipe.config
        if config.init == TEACHER:
            return {}
        named = config.cache, config.init, config.student_config, config.project, config.seed
        start = *named, recipe.init_layers, recipe.method.matches_layers
        if start not in self._inputs:
            seed_everything(config.seed)
            self._inputs[start] = initial_student(recipe, cache)[1].inputs
        return self._inputs[start]

    def distinct(self, settings: Iterable[Mapping[str, Any]]) -> list[Trial]:
        """Return the trials of settings, in order; settings that mean the same are one trial.

        Raises `BadOption` for settings that do not fit together, as a student of one layer with PKD.
        """
        by_key: dict[str, Trial] = {}
        for options in settings:
            try:
                trial = self.make(options)
            except BadOption as error:
                raise BadOption(f"{error}. To keep a combination out, write the others under [[either]]") from error
            by_key.setdefault(trial.key, trial)
        return list(by_key.values())

    def metric(self) -> str:
        """Return the metric that the trials are compared by. Raises `BadOption` for caches of different tasks."""
        tasks = {cache.manifest.task.name: location for location, cache in self.caches.items()}
        if len(tasks) > 1:
            (a, first), (b, second) = list(tasks.items())[:2]
            raise BadOption(f"{first} is a cache of {a} and {second} one of {b}: their scores cannot be compared")
        return self._judges[0]


def with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of options, with the defaults of those that are left out where they have them."""
    left_out = marked(TrainStudentConfig, "omit_default")
    return {name: default_of(TrainStudentConfig, name) for name in left_out} | dict(values)


def varying(option_values: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the options whose meaning differs between trials, in train-student's order."""
    by_name: dict[str, set[Any]] = {}
    for values in option_values:
        for name, value in values.items():
            by_name.setdefault(name, set()).add(value)
    return [f.name for f in fields(TrainStudentConfig) if len(by_name.get(f.name, ())) > 1]
