"""The options of a finished run of a student, from its run.json: to repeat it, as it was or with other options."""

from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from pipeline.cache.open import open_caches
from pipeline.config.methods import METHODS
from pipeline.config.options import value_type, values_of
from pipeline.config.training import TrainStudentConfig
from pipeline.distillation.layer_map import CUSTOM
from pipeline.errors import BadOption, BadRun, one_line
from pipeline.training.run_reader import RUN, check_caches_exist, read_run

COMMAND = "train-student"
# Option -> recorded options that described what it replaces: they are not taken over where it is given.
REPLACES: Mapping[str, tuple[str, ...]] = {
    "method": ("teacher_layers",),
    "student_layers": ("teacher_layers", "init_layers"),
    "init": ("init_layers", "student_config", "project"),
    "init_layers": ("student_layers", "teacher_layers"),
    "student_config": ("student_layers", "teacher_layers", "init_layers"),
}


def config_of_run(run: str | Path, **changes: Any) -> TrainStudentConfig:
    """Return the options of a finished run, with these in place of its own, under the names of `TrainStudentConfig`.

    Its cache is the recorded one, of the recorded identity; `cache` names another, or its present place. Without
    changes that matter, `out` is the directory of the run, which is complete; else, unless it is given, a new one.

    Raises `BadRun` for a run that is not a student's, not finished, damaged or of a newer program, `BadCache` for a
    cache that is gone, and `BadOption` for values that the options do not accept.
    """
    directory = Path(run)
    record = read_run(directory)
    if (command := record["command"]) != COMMAND:
        raise BadRun(
            f"{directory} is a run of {one_line(command, 40)}, and {COMMAND} repeats runs of students. Name a student's"
        )
    if unknown := sorted(set(record["config"]) - _options().keys()):
        raise BadRun(
            f"{directory / RUN} was written by a newer version of this program (it has the option "
            f"{one_line(unknown[0], 40)}). Repeat it with that version"
        )
    try:
        options, identity = _recorded_options(record["config"]), _text("identity", record["inputs"]["cache"])
        caches = tuple(_text("cache", cache) for cache in values_of(record["cache"]))
        recorded = TrainStudentConfig(cache=caches or None, **options)
    except (KeyError, TypeError, ValueError, BadOption) as error:
        raise BadRun(f"{directory / RUN} is damaged ({one_line(error)}). Train the run again") from error
    if changes.get("cache") is None:
        check_caches_exist(caches)
        changes = {"expect_identity": identity} | changes | {"cache": caches}
    replaced = {name for given in changes for name in REPLACES.get(given, ())}
    kept = {name: value for name, value in options.items() if name not in replaced}
    method = METHODS.get(changes.get("method", recorded.method))
    if method is not None and not method.matches_layers:
        kept.pop("project", None)
    config = TrainStudentConfig(**kept | changes)
    if config.out is None and _is_same(config, recorded, record["inputs"]):
        return TrainStudentConfig(**kept | changes | {"out": str(directory)})
    return config


def _is_same(config: TrainStudentConfig, recorded: TrainStudentConfig, inputs: Mapping[str, Any]) -> bool:
    """Return whether these are the options of a run, and a cache with the digests that it was trained on."""
    if config.identity_options() != recorded.identity_options():
        return False
    if config.expect_identity == inputs["cache"] and config.cache == recorded.cache:
        return True
    cache = open_caches(config.caches, Path(config.store) if config.store else None, config.store_bytes)
    return cache.run_inputs.items() <= inputs.items()


def _options() -> dict[str, Field]:
    """Return the options that a run.json has, by name."""
    return {field.name: field for field in fields(TrainStudentConfig) if field.metadata["affects_result"]}


def _recorded_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a run.json, as they are given; those without a meaning for its method are left out.

    Raises ValueError for one of another type.
    """
    options = {name: _as_given(name, value) for name, value in config.items() if value is not None}
    method = METHODS.get(options.get("method", ""))
    if method is not None and method.layer_map == CUSTOM:
        options["method"] = next(m.name for m in METHODS.values() if m.selectable and m.terms == method.terms)
    else:
        options.pop("teacher_layers", None)  # they follow from the method
    return options


def _as_given(name: str, value: Any) -> Any:
    """Return a recorded value in the type of its option. Raises ValueError for one of another type."""
    kind = value_type(TrainStudentConfig, name)
    if name == "teacher_layers" and isinstance(value, list):
        return ",".join(map(str, value))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def _text(name: str, value: Any) -> str:
    """Return a recorded text. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r:.40}")
    return value
