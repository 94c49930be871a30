"""The speed of predictions of students and their teacher, from the file that benchmark inference wrote."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import BadOption, one_line, shell_line
from pipeline.system.files import read_json
from pipeline.system.system_errors import raise_if_of_system, reason_of
from stages.report.student_run import StudentRun

TEACHER = "teacher"  # the name of a model in the file that is compared with no other begins with it


@dataclass(frozen=True)
class ModelSpeed:
    """Examples per second of a model in one form, by shape; `run` is None for a teacher."""

    run: StudentRun | None
    form: str
    speeds: Mapping[str, float]


@dataclass(frozen=True)
class InferenceSpeeds:
    """All speeds in a file; `shapes` are texts, examples × tokens."""

    file: str
    shapes: tuple[str, ...]
    models: tuple[ModelSpeed, ...]

    def of_runs(self, runs: Iterable[StudentRun]) -> tuple[ModelSpeed, ...]:
        """Return the speeds of these runs and of teachers."""
        chosen = set(runs)
        return tuple(model for model in self.models if model.run is None or model.run in chosen)


def read_speeds(name: str, runs: Iterable[StudentRun]) -> InferenceSpeeds:
    """Return what a file says of these runs and of their teacher. Raises `BadOption` for a file without any of them."""
    runs = tuple(runs)
    advice = f"Measure them: {shell_line('benchmark', 'inference', runs[0].path)}"
    try:
        entries = read_json(Path(name))["models"]
        by_name = {entry: list(_forms(value)) for entry, value in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise_if_of_system(error)
        reason = reason_of(error) if isinstance(error, OSError) else "it is not a result of benchmark inference"
        raise BadOption(f"--inference {one_line(name)} could not be read ({reason}). {advice}") from error
    models = [
        ModelSpeed(run, form, speeds)
        for run in runs
        for form, speeds in by_name.get(str(run.path), by_name.get(run.path.name, []))
    ]
    if not models:
        raise BadOption(f"--inference {one_line(name)} has none of these runs. {advice}")
    models += [
        ModelSpeed(None, form, speeds)
        for entry, forms in by_name.items()
        if entry.startswith(TEACHER)
        for form, speeds in forms
    ]
    shapes = tuple(dict.fromkeys(shape for model in models for shape in model.speeds))
    return InferenceSpeeds(name, shapes, tuple(models))


def _forms(value: Any) -> Iterable[tuple[str, dict[str, float]]]:
    """Yield each form of a model with its examples per second by shape. Raises ValueError for other values."""
    for form, measured in value["forms"].items():
        speeds = {str(shape): float(numbers["examples_per_second"]) for shape, numbers in measured["shapes"].items()}
        if not all(math.isfinite(speed) and speed > 0 for speed in speeds.values()):
            raise ValueError("a speed is not a number")
        yield str(form), speeds
