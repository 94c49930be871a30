"""The recipe of a student: its resolved options and what it starts from, which together identify its run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.reader import Cache
from pipeline.config.methods import Method
from pipeline.config.options import default_of, marked
from pipeline.config.training import TrainStudentConfig
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TASK_KINDS, TaskKind, check_class_weights, weighted
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import TRAIN
from pipeline.distillation.initial_layers import TEACHER, initial_layers
from pipeline.distillation.layer_map import resolve_layer_map
from pipeline.distillation.losses import LOSS_TERMS, Objective, objective_of
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

    def default_out(self, task: str) -> str:
        """Return the directory of the run where the user does not name one."""
        return f"runs/{task}/{self.method.name}-{self.depth}-{self.digest[:8]}"

    @property
    def alike_in_pack(self) -> dict[str, Any]:
        """The options that students of one pack have in common."""
        names = marked(TrainStudentConfig, "alike_in_pack")
        return {name: self.options.get(name, getattr(self.config, name)) for name in names}

    def weighted(self, train: Split, num_logits: int) -> "StudentRecipe":
        """Return the recipe with the class weights that follow from the training labels, read if it has any."""
        if self.config.class_weights == "none":
            return self
        return replace(self, kind=weighted(self.kind, self.config.class_weights, train.labels, num_logits))

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
    unused = {name: default_of(TrainStudentConfig, name) for name in not_applicable(method, manifest.kind)}
    chosen = None if start == first_layers(depth) else ",".join(map(str, start))
    return StudentRecipe(
        config=replace(config, init_layers=chosen, **unused),
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


def training_split(cache: Cache) -> Split:
    """Return the split that students train on. Raises `BadCache` for a cache without a labelled one."""
    train = cache.splits.get(TRAIN)
    if train is None or not train.labelled:
        raise BadCache(f"{cache.location} does not have a labelled training split. Cache one with --train-file")
    return train


def check_identity(config: TrainStudentConfig, identity: str) -> None:
    """Raise `BadCache` unless the cache has the identity that --expect-identity names."""
    expected = config.expect_identity
    if expected is not None and (len(expected) < 12 or not identity.startswith(expected.lower())):
        raise BadCache(
            f"{config.cache} has the identity {identity}, not {expected or 'an empty one'} (12 digits or more). "
            f"See what it is: {shell_line('cache', 'info', config.cache)}"
        )
