"""The recipe of a student: its resolved options and what it starts from, which together identify its run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.reader import Cache
from pipeline.config.methods import Method
from pipeline.config.options import default_of, marked, values_of
from pipeline.config.training import TrainStudentConfig
from pipeline.data.joined_split import join_splits
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TASK_KINDS, TaskKind, check_class_weights, weighted
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import TRAIN, TRANSFER
from pipeline.data.training_set import TrainingSet, draw_training_set, labels_of
from pipeline.distillation.initial_layers import TEACHER, initial_layers
from pipeline.distillation.layer_map import resolve_layer_map
from pipeline.distillation.losses import LOSS_TERMS
from pipeline.distillation.objective import Objective, objective_of
from pipeline.distillation.projection import ClsMaps
from pipeline.errors import BadCache, BadOption, shell_line
from pipeline.models.accelerator import resolve_precision
from pipeline.models.encoders import first_layers
from pipeline.system.digests import json_digest


@dataclass(frozen=True, kw_only=True)
class StudentRecipe:
    """A resolved student. Made by `resolve_recipe`."""

    config: TrainStudentConfig  # options that do not apply to its method are at their defaults
    method: Method
    kind: TaskKind
    metrics: TaskMetrics
    depth: int  # N, its number of layers
    layers: tuple[int, ...]  # of the teacher, matched by student layers 1..K
    init_layers: tuple[int, ...]  # of what --init names, from which student layers 1..N start
    precision: str
    inputs: Mapping[str, str]  # digests of what it starts from: the cache, and with --init the checkpoint

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options that decide the result, as JSON; null where one does not apply to the method."""
        resolved = {
            "method": self.method.name,
            "student_layers": self.depth,
            "teacher_layers": list(self.layers) or None,
            "precision": self.precision,
        }
        values = self.config.identity_options() | resolved
        return values | dict.fromkeys(name for name in not_applicable(self.method, self.kind) if name in values)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the options and the inputs: runs of one digest train the same student."""
        return json_digest([self.options, dict(self.inputs)])

    def default_out(self, task: str, runs: str | None = None) -> str:
        """Return the directory of the run where the user does not name one; `runs`, where that of the runs is named."""
        return f"{runs or f'runs/{task}'}/{self.method.name}-{self.depth}-{self.digest[:8]}"

    @property
    def alike_in_pack(self) -> dict[str, Any]:
        """The options that students of one pack have in common."""
        names = marked(TrainStudentConfig, "alike_in_pack")
        return {name: self.options.get(name, getattr(self.config, name)) for name in names}

    def weighted(self, cache: Cache) -> "StudentRecipe":
        """Return the recipe with the class weights that follow from the training labels, read if it has any."""
        if self.config.class_weights == "none":
            return self
        labels, classes = training_labels(cache), cache.manifest.model.classes
        return replace(self, kind=weighted(self.kind, self.config.class_weights, labels, classes))

    @property
    def objective(self) -> Objective:
        """The loss that the student is trained for."""
        return objective_of(self.method, self.kind, self.layers, self.config.reduction, vars(self.config))

    def cls_maps(self, model: Any, teacher_width: int) -> ClsMaps | None:
        """Return the maps of a student's [CLS] vectors to the width of the teacher; None without --project."""
        if not self.config.project:
            return None
        return ClsMaps(len(self.layers), model.config.hidden_size, teacher_width, self.config.seed)

    def starting_from(self, inputs: Mapping[str, str]) -> "StudentRecipe":
        """Return the recipe of a student that starts from a checkpoint with these digests."""
        return replace(self, inputs={**self.inputs, **inputs})


def resolve_recipe(config: TrainStudentConfig, manifest: Manifest) -> StudentRecipe:
    """Return the recipe of a student of this cache. Raises `BadOption` for layers that do not fit the cache.

    The digest of a checkpoint named by --init is added by `initial_student`.
    """
    start = initial_layers(config, manifest.model.depth)
    depth, layers = len(start), config.teacher_layers
    method, matched = resolve_layer_map(config.method, layers, depth, manifest.model.depth, manifest.layers)
    check_class_weights(manifest.kind, config.class_weights)
    _check_project(config, method)
    unused = list(not_applicable(method, manifest.kind))
    if not any(LOSS_TERMS[term].columns(matched) for term in method.terms):
        unused.append("max_transfer_examples")  # labels alone are read, and these examples do not have any
    chosen = None if start == first_layers(depth) else ",".join(map(str, start))
    return StudentRecipe(
        config=replace(config, init_layers=chosen, **{name: default_of(TrainStudentConfig, name) for name in unused}),
        method=method,
        kind=manifest.kind,
        metrics=manifest.task_metrics.judged_by(config.metric),
        depth=depth,
        layers=matched,
        init_layers=start,
        precision=resolve_precision(config.precision),
        inputs={"cache": manifest.identity},
    )


def _check_project(config: TrainStudentConfig, method: Method) -> None:
    """Raise `BadOption` for --project where there are not two widths to compare."""
    if config.project and not method.matches_layers:
        raise BadOption(
            f"--project maps [CLS] vectors, and --method {method.name} does not compare them. Leave --project out"
        )
    if config.project and config.init == TEACHER:
        raise BadOption("a student that starts from the teacher is as wide as the teacher. Leave --project out")


def not_applicable(method: Method, kind: TaskKind) -> tuple[str, ...]:
    """Return the options of loss terms that do not mean anything for this method on this kind of task."""
    every = [
        name for term in LOSS_TERMS.values() for any_kind in TASK_KINDS.values() for name in term.options(any_kind)
    ]
    applicable = {name for term in method.terms for name in LOSS_TERMS[term].options(kind)}
    return tuple(name for name in dict.fromkeys(every) if name not in applicable)


def training_splits(cache: Cache, objective: Objective) -> list[str]:
    """Return the splits that students are trained on: those with labels alone, where there is no teacher to learn from.

    Raises `BadCache` for a cache without any.
    """
    names = [name for name in (TRAIN, TRANSFER) if name in cache.splits]
    if not names:
        raise BadCache(f"{cache.location} does not have examples to train on. Cache some with --train-file")
    return [name for name in names if objective.columns or cache.splits[name].labelled] or names


def training_split(cache: Cache, objective: Objective) -> Split:
    """Return the examples of the `training_splits` as one split."""
    return join_splits([cache.splits[name] for name in training_splits(cache, objective)])


def training_labels(cache: Cache) -> np.ndarray:
    """Return the labels of the training rows that have one, [n]."""
    kind = cache.manifest.kind
    if (train := cache.splits.get(TRAIN)) is not None and train.labelled:
        return labels_of(train, kind)
    return kind.without_labels(0, cache.manifest.model.classes)


def training_set(recipe: StudentRecipe, split: Split) -> TrainingSet:
    """Return the examples of a `training_split` that a student is trained on.

    Raises `BadOption` for a number of transfer examples where there are none.
    """
    config = recipe.config
    if config.max_transfer_examples and TRANSFER not in {part.name for part in split.parts}:
        raise BadOption(
            "the cache does not have a transfer split. Leave --max-transfer-examples out, or cache one with "
            "--unlabelled-file"
        )
    limits = config.max_train_examples, config.max_transfer_examples
    labelled_only = not recipe.objective.columns
    return draw_training_set(split, recipe.kind, config.data_seed, *limits, labelled_only=labelled_only)


def check_labels(recipe: StudentRecipe, examples: TrainingSet, cache: Cache) -> None:
    """Raise `BadOption` for a loss on labels where none of the examples has one."""
    if not recipe.objective.needs_labels or examples.labelled:
        return
    config = recipe.config
    if labels_alone := not recipe.objective.columns:
        share = f"--method {config.method} learns from nothing else"
    else:
        share = f"--alpha {config.alpha:g} leaves them {1 - config.alpha:g} of the loss"
    way_on = "--method kd --alpha 1" if labels_alone else "--alpha 1"
    raise BadOption(
        f"none of the examples to train on in {cache.location} has a label, and {share}. To learn from the teacher "
        f"alone, use {way_on}"
    )


def check_identity(config: TrainStudentConfig, cache: Cache) -> None:
    """Raise `BadCache` unless the cache has the identity that --expect-identity names."""
    expected, identity = config.expect_identity, cache.identity
    if expected is not None and (len(expected) < 12 or not identity.startswith(expected.lower())):
        location, *more = values_of(config.cache)
        has = f"{cache.location} together have" if more else f"{location} has"
        raise BadCache(
            f"{has} the identity {identity}, not {expected or 'an empty one'} (12 digits or more). "
            f"See what it is: {shell_line('cache', 'info', location)}"
        )
