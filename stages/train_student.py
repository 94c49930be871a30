"""Train a student from a cache. The teacher's upper layers are not loaded, the rows of the task are not read."""

from dataclasses import fields

from pipeline.config.training import TrainStudentConfig
from pipeline.training.repeated_run import config_of_run
from pipeline.training.student import StudentResult, advance

__all__ = ["StudentResult", "TrainStudentConfig", "config_of_run", "run"]


def run(config: TrainStudentConfig) -> StudentResult:
    """Train, keep the selected weights, and write the run. A finished run of the same recipe is returned.

    With `from_run`, options that differ from their defaults are laid over those of that run; `config_of_run` returns
    them with any others. Raises a `DistillError` for caches, options and directories that cannot be used.
    """
    if config.from_run is not None:
        values = {field.name: getattr(config, field.name) for field in fields(config) if field.name != "from_run"}
        defaults = {field.name: field.default for field in fields(config)}
        changes = {name: value for name, value in values.items() if value != defaults[name]}
        config = config_of_run(config.from_run, **changes)
    result = advance(config)
    assert isinstance(result, StudentResult)
    return result
