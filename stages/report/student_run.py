"""A finished run of a student as the report reads it: checked, with its predictions and its log."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline.cache.reader import Cache
from pipeline.cache.teacher_config import CONFIG, read_object
from pipeline.config.methods import METHODS
from pipeline.config.options import values_of
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind, kind_of_model
from pipeline.errors import BadRun, one_line
from pipeline.system.system_errors import raise_if_of_system
from pipeline.training.run_reader import RUN, as_recorded, model_directory, read_log, read_predictions, read_run
from pipeline.training.student import StudentResult

COMMAND = "train-student"
SEEDS = ("seed", "data_seed")  # runs that differ in nothing else are one row of the table


@dataclass(frozen=True)
class LogLine:
    """A line of log.jsonl: the loss, or the metrics, after an optimizer step."""

    step: int
    values: Mapping[str, float]  # loss, or the metrics of an evaluation
    layers: Mapping[int, float]  # teacher layer -> its patience loss


@dataclass(frozen=True, eq=False)
class StudentRun:
    """A finished run of train-student. `predictions` are its logits [n, C] on each dev split, as they are stored."""

    path: Path
    record: Mapping[str, Any]
    result: StudentResult
    predictions: Mapping[str, np.ndarray]

    @property
    def config(self) -> Mapping[str, Any]:
        """Its options, as recorded."""
        config: Mapping[str, Any] = self.record["config"]
        return config

    @property
    def caches(self) -> tuple[str, ...]:
        """The places of its cache, or of its caches, when it was trained."""
        return tuple(map(str, values_of(self.record.get("cache"))))

    @property
    def inputs(self) -> tuple[str, str]:
        """The identity of its cache, and the digest of its dev rows where it has several caches."""
        inputs = self.record.get("inputs", {})
        return str(inputs.get("cache", "")), str(inputs.get("dev_rows", ""))

    @property
    def seeds(self) -> tuple[Any, ...]:
        """The values of its seeds."""
        return tuple(self.config.get(name) for name in SEEDS)

    @property
    def setting(self) -> str:
        """Its options but the seeds, as a text that can be compared."""
        return json.dumps({key: value for key, value in self.config.items() if key not in SEEDS}, sort_keys=True)

    @property
    def order(self) -> tuple[Any, ...]:
        """A sort key: by method as in the paper, depth, setting, seeds."""
        method = list(METHODS).index(self.result.method)
        return method, self.result.student_layers, self.setting, json.dumps(self.seeds), str(self.path)

    @property
    def examples_trained(self) -> int:
        """The number of examples that it was trained on, an example of n epochs n times."""
        last, sizes = self.record.get("last"), (self.result.labelled_examples, self.result.unlabelled_examples)
        epochs = last.get("epoch") if isinstance(last, dict) else None
        if isinstance(epochs, int | float) and math.isfinite(epochs) and None not in sizes:
            return round(epochs * sum(size or 0 for size in sizes))
        numbers = [self.record.get("steps"), self.config.get("batch_size"), self.config.get("grad_accumulation", 1)]
        return math.prod(numbers) if all(isinstance(number, int) for number in numbers) else 0

    def logits(self, split: str) -> np.ndarray:
        """Return the stored predictions on a split."""
        return self.predictions[split]

    def kind(self, cache: Cache) -> TaskKind:
        """Return the kind of task with the settings of its model, as a threshold. Raises `BadRun`."""
        kind = cache.manifest.kind
        if not kind.settings:
            return kind
        file = model_directory(self.path) / CONFIG
        try:
            return kind_of_model(kind, SimpleNamespace(**read_object(file)))
        except (OSError, ValueError, TypeError) as error:
            raise_if_of_system(error)
            raise BadRun(f"{file} is damaged ({one_line(error)}). Train the run again") from error

    def log(self) -> tuple[LogLine, ...]:
        """Return the lines of its log that can be read; none without a log."""
        return tuple(line for entry in read_log(self.path) if (line := _log_line(entry)) is not None)


def read_student(path: Path) -> StudentRun:
    """Return the run in a directory. Raises `BadRun` for one that is unfinished, damaged or not of a student."""
    record = read_run(path)
    if record["command"] != COMMAND:
        raise BadRun(
            f"{path} is a run of {one_line(record['command'], 40)}, and a report is about students. Name runs of "
            f"{COMMAND}: their teacher is in their cache"
        )
    result = as_recorded(StudentResult, record["result"], path / RUN, "Train the run again")
    if problem := _problem(result):
        raise BadRun(f"{path / RUN} is damaged ({problem}). Train the run again")
    return StudentRun(path, record, result, read_predictions(path))


def check_predictions(run: StudentRun, splits: Mapping[str, Split], classes: int) -> None:
    """Raise `BadRun` unless a run has predictions on each of these dev splits that fit them."""
    for name, split in splits.items():
        stored = run.predictions.get(name)
        if stored is None or stored.shape != (len(split), classes) or not np.isfinite(stored).all():
            raise BadRun(f"{run.path}: its predictions on {name} do not fit its cache. Train the run again")


def _problem(result: StudentResult) -> str | None:
    """Return what is wrong with a recorded result, None if nothing is."""
    tables = (*result.metrics.values(), result.agreement) if isinstance(result.metrics, dict) else (None,)
    values = [value for table in tables for value in (table.values() if isinstance(table, dict) else (None,))]
    numbers = (result.parameters, result.student_layers, result.seconds, result.train_examples_per_second, *values)
    if not all(map(_is_number, numbers)):
        return "its result has what is not a number"
    counts = (result.labelled_examples, result.unlabelled_examples)
    if not all(count is None or _is_number(count) for count in counts):
        return "its numbers of examples are not numbers"
    if result.method not in METHODS:
        return f"there is no method {one_line(result.method, 40)}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _log_line(entry: Mapping[str, Any]) -> LogLine | None:
    """Return a line of a log, None for one of another form."""
    try:
        values = entry["metrics"] if entry["kind"] == "eval" else {"loss": entry["loss"]}
        layers = {int(layer): float(value) for layer, value in entry.get("pt_by_layer", {}).items()}
        line = LogLine(entry["step"], {str(key): float(value) for key, value in values.items()}, layers)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return line if all(map(math.isfinite, (*line.values.values(), *line.layers.values()))) else None
