"""The recipe of a student: its resolved options and what it starts from, which together identify its run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.reader import Cache
from pipeline.cache.teacher_files import load_student
from pipeline.config.methods import Method
from pipeline.config.options import default_of, marked
from pipeline.config.training import TrainStudentConfig
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TASK_KINDS, TaskKind, check_class_weights, weighted
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import TRAIN, head_of
from pipeline.distillation.layer_map import resolve_layer_map, student_depth
from pipeline.distillation.losses import LOSS_TERMS, Objective, objective_of
from pipeline.errors import BadCache, BadModel, BadOption, shell_line
from pipeline.models.accelerator import resolve_precision
from pipeline.models.checkpoints import load_classifier, load_config, load_tokenizer, locate, start_head
from pipeline.models.encoders import depth_of
from pipeline.models.inputs import check_vocabulary, leave_out_segments, position_limit
from pipeline.models.tokenizer import same_tokens
from pipeline.system.digests import config_digest, json_digest, weights_digest


@dataclass(frozen=True, kw_only=True)
class StudentRecipe:
    """A resolved student. Made by `resolve_recipe`."""

    config: TrainStudentConfig  # options that do not apply to its method are at their defaults
    method: Method
    kind: TaskKind
    metrics: TaskMetrics
    depth: int  # N, its number of layers
    layers: tuple[int, ...]  # of the teacher, matched by student layers 1..K
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

    def starting_from(self, inputs: Mapping[str, str]) -> "StudentRecipe":
        """Return the recipe of a student that starts from a checkpoint with these digests."""
        return replace(self, inputs={**self.inputs, **inputs})


def resolve_recipe(config: TrainStudentConfig, manifest: Manifest) -> StudentRecipe:
    """Return the recipe of a student of this cache. Raises `BadOption` for layers that do not fit the cache.

    The digest of a checkpoint named by --init is added by `initial_student`.
    """
    depth = student_depth(config.student_layers, manifest.model.depth)
    layers = config.teacher_layers
    method, matched = resolve_layer_map(config.method, layers, depth, manifest.model.depth, manifest.layers)
    check_class_weights(manifest.kind, config.class_weights)
    unused = not_applicable(method, manifest.kind)
    return StudentRecipe(
        config=replace(config, **{name: default_of(TrainStudentConfig, name) for name in unused}),
        method=method,
        kind=manifest.kind,
        metrics=manifest.task_metrics.judged_by(config.metric),
        depth=depth,
        layers=matched,
        precision=resolve_precision(config.precision),
        inputs={"cache": manifest.identity},
    )


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


def initial_student(recipe: StudentRecipe, cache: Cache) -> tuple[Any, StudentRecipe]:
    """Return the student before training, and its recipe with the digests of the checkpoint that --init names."""
    init, model_record = recipe.config.init, cache.manifest.model
    if init == "teacher":
        return load_student(cache.teacher, recipe.depth, model_record.depth), recipe
    name = locate(init)
    config = load_config(name)
    if depth_of(config) < recipe.depth:
        raise BadModel(f"--init {init} has only {depth_of(config)} layers. Try --student-layers {depth_of(config)}")
    tokenizer = load_tokenizer(str(cache.teacher))
    if not same_tokens(load_tokenizer(name), tokenizer):
        raise BadModel(
            f"--init {init} has another tokenizer than the teacher, so its tokens mean something else. "
            "Start from a checkpoint with the teacher's tokenizer"
        )
    if recipe.method.matches_layers and config.hidden_size != model_record.hidden:
        raise BadOption(
            f"--init {init} is {config.hidden_size} wide and the teacher {model_record.hidden}: their [CLS] vectors "
            "cannot be compared. Use --method kd"
        )
    head = head_of(recipe.kind, cache.manifest.task.labels)
    model: Any = load_classifier(name, head=head, layers=recipe.depth)
    if (first := recipe.kind.first_logits(training_split(cache).labels)) is not None:
        start_head(model, first)
    check_vocabulary(init, tokenizer, model)
    longest, limit = max(int(split.lengths.max(initial=0)) for split in cache.splits.values()), position_limit(model)
    if longest > limit:
        raise BadModel(
            f"--init {init} has positions for {limit} tokens, and the longest row of the cache has {longest}. Name "
            f"another checkpoint, or make a cache with --max-length {limit}"
        )
    leave_out_segments(model, model_record.token_types)
    digests = {"init": weights_digest(model.state_dict()), "init_config": config_digest(model.config)}
    return model, recipe.starting_from(digests)
