"""Targets that are columns of the user's rows, as the options of cache-teacher describe them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.cache.format.identity import LONGEST_NAME, MODEL_NAME, is_teacher_name
from pipeline.config.options import is_default, option_name, values_of
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.rows.rows import SplitRows, TaskRows
from pipeline.data.rows.transfer_rows import transfer_files
from pipeline.data.targets.exported_classes import exported_classes
from pipeline.data.targets.target_columns import TargetColumns, parse_target_columns
from pipeline.data.targets.target_values import TargetReader, TargetRemarks
from pipeline.data.tasks import TRAIN, Task
from pipeline.errors import BadOption, BadRows, one_line
from pipeline.system.progress import note
from pipeline.teacher.target_classes import TargetClasses, known_classes, target_classes

OF_TARGETS = ("target_kind", "target_smoothing", "teacher_name")
OF_A_MODEL = ("teacher", "revision", "layers", "dtype", "precision", "workers", "max_length")


@dataclass
class SplitTargets:
    """The targets of a split, read part by part; a `TargetStream`. `classes` says what their columns mean."""

    columns: TargetColumns
    classes: TargetClasses
    reader: TargetReader
    remarks: TargetRemarks = field(default_factory=TargetRemarks)

    def logits(self, raw: RawSplit) -> np.ndarray:
        """Return the logits [n, C] of the next rows. Raises `BadRows` for targets that cannot be used."""
        assert raw.targets is not None
        return self.reader.logits(raw, raw.targets, self.classes.columns(raw, raw.targets), self.remarks)

    def note(self, name: str) -> None:
        """Say what is worth a line about the targets of the split called `name`."""
        for line in self.remarks.lines(self.reader.smoothing):
            note(f"{name}: {line}")


@dataclass(frozen=True)
class RowTargetColumns:
    """The target columns of the rows, their numbers turned into logits."""

    columns: TargetColumns
    config: CacheTeacherConfig

    def _label_map(self, raw: Mapping[str, RawSplit]) -> str | None:
        """Return --label-map; without it, for lists that `cache export` wrote, the order that it noted."""
        has_names = any(part.targets and part.targets.names for part in raw.values())
        if self.config.label_map or self.columns.scores or self.config.choices_columns or has_names:
            return self.config.label_map
        files = ("train_file", "dev_file", "test_file")
        places = [place for name in files for place in values_of(getattr(self.config, name))]
        noted = exported_classes((*places, *transfer_files(self.config)))
        return json.dumps(noted) if noted else None

    def classes(self, raw: Mapping[str, RawSplit]) -> tuple[str, ...]:
        """Return the classes of rows without labels. Raises `BadOption` if neither targets nor options name any."""
        if self.config.regression or self.config.choices_columns:
            return ()
        if not (classes := known_classes(self.columns, raw, self._label_map(raw))):
            raise BadOption(
                "no training row has a label, and lists do not name their classes: give --label-map A,B,… with the "
                "classes in the order of the lists, or name a --label-column"
            )
        return classes

    def added(self, rows: TaskRows, raw: Mapping[str, RawSplit]) -> TaskRows:
        """Return the rows with logits, and the task with its classes in the order of these. Raises `BadRows`."""
        task, config = rows.task, self.config
        train = raw[TRAIN].targets
        if not rows.splits[TRAIN].labelled and train is not None and self.columns.scores:
            try:
                task = replace(task, kind=task.kind.fitted(train.values[:, 0]))
            except ValueError as error:
                place = one_line(raw[TRAIN].places[0][0])
                raise BadRows(f"{place}: {error}. Name other --target-columns") from error
        if config.target_kind and config.target_kind not in task.kind.target_kinds:
            raise BadOption(f"--target-kind is for classes, and a {task.kind.title} task has scores. Leave it out")
        given = target_classes(task, self.columns, raw, self._label_map(raw), str(config.teacher_name))
        reader = TargetReader(
            task=given.task,
            target_kind=config.target_kind or task.kind.target_kinds[0],
            smoothing=config.target_smoothing,
        )
        splits = {}
        for name, part in raw.items():
            targets = SplitTargets(self.columns, given, reader)
            logits = targets.logits(part)
            targets.note(name)
            splits[name] = replace(_relabelled(rows.splits[name], task, given.task), targets=logits)
        of_transfer = SplitTargets(self.columns, given, reader)
        return replace(rows, task=given.task, splits=splits, transfer_targets=of_transfer)


def _relabelled(rows: SplitRows, task: Task, ordered: Task) -> SplitRows:
    """Return the rows with the numbers of `ordered` for the classes of `task`, labelled if one of them has a label."""
    if not (rows.labelled and task.kind.has_label(rows.labels).any()):
        return replace(rows, labels=task.kind.without_labels(len(rows), task.num_logits), labelled=False)
    return rows.relabelled(task.labels, ordered.labels)


def row_targets(config: CacheTeacherConfig) -> RowTargetColumns | None:
    """Return the target columns that the options name; None where a model makes the targets.

    Raises `BadOption` for options that do not fit together.
    """

    def changed(names: tuple[str, ...]) -> list[str]:
        return [option_name(n) for n in names if not is_default(config, n)]

    if config.target_columns is None:
        if given := changed(OF_TARGETS):
            raise BadOption(f"{given[0]} is for targets in your rows: give --target-columns as well")
        return None
    if given := changed(OF_A_MODEL):
        raise BadOption(f"{given[0]} is for a model, and with --target-columns none runs: leave it out")
    if config.no_text:
        raise BadOption("--no-text is for a teacher that runs here: with --target-columns students need the texts")
    if config.engine != "local":
        raise BadOption(f"--engine {config.engine} shares out a model's work, and with --target-columns none runs")
    name = config.teacher_name
    if name is None:
        raise BadOption("--target-columns needs the name of the teacher that made them: --teacher-name NAME")
    if not is_teacher_name(name):
        raise BadOption(
            f"--teacher-name must be a name of 1 to {LONGEST_NAME} characters on one line, and not {MODEL_NAME}: not "
            f"{one_line(name, 40)!r}"
        )
    return RowTargetColumns(parse_target_columns(config.target_columns, config.regression), config)
