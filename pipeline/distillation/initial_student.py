"""A student before its training: the teacher's layers, those of a checkpoint, or new weights."""

from typing import Any

from pipeline.cache.reader import Cache
from pipeline.cache.teacher_files import load_student
from pipeline.data.tasks import head_of
from pipeline.distillation.initial_layers import RANDOM, TEACHER, check_within
from pipeline.distillation.recipe import StudentRecipe, training_labels
from pipeline.distillation.student_config import new_student, read_student_config
from pipeline.errors import BadModel, BadOption
from pipeline.models.checkpoints import Head, load_classifier, load_config, locate, start_head
from pipeline.models.encoders import depth_of
from pipeline.models.inputs import check_vocabulary, leave_out_segments, position_limit
from pipeline.system.digests import config_digest, weights_digest


def initial_student(recipe: StudentRecipe, cache: Cache) -> tuple[Any, StudentRecipe]:
    """Return the student before training, and its recipe with the digests of what --init names.

    New weights are drawn from torch's generator. Raises `BadModel` or `BadOption` for what does not fit the cache.
    """
    config, model_record = recipe.config, cache.manifest.model
    if config.init == TEACHER:
        return load_student(cache.teacher, recipe.init_layers, model_record.depth), recipe
    tokenizer = cache.tokens.tokenizer
    head = head_of(recipe.kind, cache.manifest.task.labels)
    if config.init == RANDOM:
        assert config.student_config is not None
        source = f"--student-config {config.student_config}"
        _check_width(recipe, source, read_student_config(config.student_config).hidden_size, model_record.hidden)
        model: Any = new_student(config.student_config, tokenizer, head)
        digests = {"init_config": config_digest(model.config)}
    else:
        source = f"--init {config.init}"
        model = _pretrained(recipe, source, tokenizer, head, model_record.hidden)
        digests = {}
    if (first := recipe.kind.first_logits(training_labels(cache))) is not None:
        start_head(model, first)
    _check_positions(cache, source, model)
    leave_out_segments(model, cache.tokens.segments)
    digests = digests or {"init": weights_digest(model.state_dict()), "init_config": config_digest(model.config)}
    return model, recipe.starting_from(digests | cache.tokens.run_inputs)


def _pretrained(recipe: StudentRecipe, source: str, tokenizer: Any, head: Head, teacher_width: int) -> Any:
    """Return the layers of the checkpoint of --init, with the head of the task."""
    init, layers = recipe.config.init, recipe.init_layers
    name = locate(init)
    config = load_config(name)
    if recipe.config.init_layers is not None:
        check_within(recipe.config.init_layers, layers, source, depth_of(config))
    if depth_of(config) < recipe.depth:
        raise BadModel(f"{source} has only {depth_of(config)} layers. Try --student-layers {depth_of(config)}")
    _check_width(recipe, source, config.hidden_size, teacher_width)
    model = load_classifier(name, head=head, layers=layers)
    check_vocabulary(init, tokenizer, model)
    return model


def _check_width(recipe: StudentRecipe, source: str, width: int, teacher_width: int) -> None:
    """Raise `BadOption` where [CLS] vectors cannot be compared, or need no --project."""
    if not recipe.method.matches_layers:
        return
    if width != teacher_width and not recipe.config.project:
        raise BadOption(
            f"{source} is {width} wide and the teacher {teacher_width}: their [CLS] vectors cannot be compared as they "
            "are. Add --project, or use --method kd"
        )
    if width == teacher_width and recipe.config.project:
        raise BadOption(
            f"{source} is as wide as the teacher ({width}), so their [CLS] vectors are compared as they are. Leave "
            "--project out"
        )


def _check_positions(cache: Cache, source: str, model: Any) -> None:
    """Raise `BadModel` if a row of the cache is longer than the model has positions for."""
    longest, limit = cache.tokens.longest(cache.splits), position_limit(model)
    if longest > limit:
        raise BadModel(
            f"{source} has positions for {limit} tokens, and the longest row of the cache has {longest}. Name one "
            f"with more, or make a cache with --max-length {limit}"
        )
