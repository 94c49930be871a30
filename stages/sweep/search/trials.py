"""The trials of a space: each setting as a training, with a key of everything that this training depends on."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.config.options import command_line
from pipeline.config.sweep import SweepConfig
from pipeline.config.training import TrainStudentConfig
from pipeline.data.tasks import DEV, role_of
from pipeline.distillation.recipe import canonical, default_out, initial_student, training_split
from pipeline.errors import BadCache, BadOption
from pipeline.system.digests import json_digest
from pipeline.training.loop import Schedule
from pipeline.training.run_directory import RunDirectory, checkpoint_step


@dataclass(frozen=True, eq=False)
class Trial:
    """One training. `key` is the digest of its canonical configuration and of what it starts from."""

    key: str
    config: TrainStudentConfig  # --out and --resume included
    settings: Mapping[str, Any]  # canonical: None for what has no meaning
    inputs: Mapping[str, str]  # digests
    schedule: Schedule
    selection_split: str  # the dev split whose metric is its score

    @property
    def command(self) -> str:
        """The command line that trains it alone."""
        return command_line("train-student", replace(self.config, resume=False))

    @property
    def option_values(self) -> dict[str, Any]:
        """Every option as displays and Optuna show it: canonical, except for teacher layers, which --method implies."""
        return {**self.settings, "cache": self.config.cache, "teacher_layers": self.config.teacher_layers}

    @property
    def as_json(self) -> dict[str, Any]:
        """The attributes that a study keeps of it."""
        return {
            "shown": self.option_values,
            "method": self.settings["method"],
            "command": self.command,
            "out": self.config.out,
            "total": self.total,
        }

    def steps(self, share: float) -> int:
        """Return the number of steps of a share of the whole training, at least one."""
        return max(1, math.ceil(share * self.total - 1e-9))

    def result(self) -> dict[str, Any] | None:
        """Return the result of its run if that is complete. Raises `BadRun` if something else is in its place."""
        return RunDirectory(Path(self.config.out or ""), "train-student", self.settings, self.inputs).finished()

    @property
    def total(self) -> int:
        """Optimizer steps of the whole training."""
        return self.schedule.total

    def examples(self, start: int, stop: int) -> int:
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
        names = ("batch_size", "grad_accumulation", "data_seed", "max_train_examples", "eval_every", "precision")
        values = (self.settings[name] for name in (*names, "student_layers", "init"))
        return self.config.cache, self.total, *values


class Trials:
    """A maker of trials. Caches are opened once, and checkpoints other than the teacher are loaded once."""

    def __init__(self, config: SweepConfig):
        self.store: dict[str, Any] = {"store": config.store, "store_bytes": config.store_bytes}
        self.caches: dict[str, Cache] = {}
        self._inputs: dict[tuple[Any, ...], dict[str, str]] = {}

    def cache(self, location: str) -> Cache:
        """Return the open cache at a location."""
        if location not in self.caches:
            store = self.store["store"]
            self.caches[location] = open_cache(location, Path(store) if store else None, self.store["store_bytes"])
        return self.caches[location]

    def make(self, options: Mapping[str, Any]) -> Trial:
        """Return the trial of some options. Raises a `DistillError` for options that do not fit their cache."""
        config = TrainStudentConfig(**{**self.store, **options, "resume": True})
        cache = self.cache(config.cache)
        train = training_split(cache, config.cache)
        dev_splits = [name for name, split in cache.splits.items() if role_of(name) == DEV and split.labelled]
        if not dev_splits:
            raise BadCache(f"{config.cache} has no labelled dev split to compare trials on. Cache one with --dev-file")
        settings = canonical(config, cache.manifest)
        defaults = TrainStudentConfig(cache=config.cache)
        config = replace(config, **{n: getattr(defaults, n) for n, value in settings.items() if value is None})
        start = (config.cache, config.init, settings["student_layers"], settings["method"].startswith("pkd"))
        if start not in self._inputs:
            self._inputs[start] = {"cache": cache.manifest.identity}
            if config.init != "teacher":
                depth, method = settings["student_layers"], settings["method"]
                self._inputs[start] |= initial_student(config.init, cache, depth, method)[1]
        inputs = self._inputs[start]
        out = default_out(cache.manifest.task.name, settings, inputs)
        schedule = Schedule.of(config, train.lengths)
        return Trial(
            json_digest([settings, inputs]), replace(config, out=out), settings, inputs, schedule, dev_splits[0]
        )

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
        """Return the first metric of the caches' task. Raises `BadOption` for caches of different tasks."""
        tasks = {cache.manifest.task.name: location for location, cache in self.caches.items()}
        if len(tasks) > 1:
            (a, first), (b, second) = list(tasks.items())[:2]
            raise BadOption(f"{first} is a cache of {a} and {second} one of {b}: their scores cannot be compared")
        return next(iter(self.caches.values())).manifest.task.metrics[0]


def varying(option_values: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the options whose meaning differs between trials, in train-student's order."""
    by_name: dict[str, set[Any]] = {}
    for values in option_values:
        for name, value in values.items():
            by_name.setdefault(name, set()).add(value)
    return [f.name for f in fields(TrainStudentConfig) if len(by_name.get(f.name, ())) > 1]
