"""Labelled rows that a finished model is measured on: files of the user, or a task of the table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.options import is_default, option_name, values_of
from pipeline.config.rows import RowsConfig
from pipeline.data.labels.label_columns import split_rows
from pipeline.data.labels.label_names import is_mark, listed
from pipeline.data.labels.renamed_labels import renamed
from pipeline.data.rows.choices import choice_rows
from pipeline.data.rows.raw_rows import RawSplit, read_files
from pipeline.data.rows.rows import SplitRows
from pipeline.data.rows.sources import load_rows
from pipeline.data.tables.places import expand, name_of
from pipeline.data.task_kinds import MULTI_LABEL, REGRESSION, TASK_KINDS
from pipeline.data.tasks import DEV, TASKS, Task, role_of
from pipeline.errors import BadCache, BadOption, BadRows, one_line
from pipeline.inference.predictor import Predictor
from pipeline.system.progress import note

FILE = "file"  # the split of the user's rows
NO_LABEL = "-1"


def rows_of_files(config: EvaluateConfig, predictor: Predictor) -> dict[str, SplitRows]:
    """Return the rows of --file that have a label, their classes numbered as in the model.

    Raises `BadRows` for rows that the model cannot be measured on, which it names.
    """
    known = _recorded_rows(predictor.source.values)
    separator = config.label_separator or _text(known, "label_separator")
    column = config.label_column or _text(known, "label_column")
    column = column or (TASKS[predictor.record.task].file_label if predictor.record.task in TASKS else "label")
    files = expand(values_of(config.file))
    raw = read_files(files, predictor.text_columns, column, DEV, predictor.choices_columns)
    raw = renamed({FILE: raw}, config.rename_labels, separator)[FILE]
    raw = _with_label(raw, predictor, column)
    if predictor.choices_columns:
        return {FILE: _questions(raw, config, predictor)}
    kind = TASK_KINDS[predictor.kind.name]
    task = Task(predictor.record.task, predictor.text_columns, predictor.labels, (), kind)
    options = RowsConfig(task=task.name, label_separator=separator, rename_labels=config.rename_labels)
    return {FILE: split_rows(raw, task, FILE, options)}


def rows_of_task(config: EvaluateConfig, predictor: Predictor) -> dict[str, SplitRows]:
    """Return the splits of --task, their classes numbered as in the model.

    Raises `BadOption` for a task of another kind or with other classes than the model's.
    """
    name = config.task or predictor.record.task
    rows = load_rows(RowsConfig(task=name, data_dir=config.data_dir))
    task, place = rows.task, predictor.source.directory
    if task.kind.title != predictor.kind.title:
        raise BadOption(f"{place} is of a {predictor.kind.title} task, and {name} is {task.kind.title}. Name another")
    if sorted(task.labels) != sorted(predictor.labels):
        raise BadOption(
            f"{place} has the classes {listed(predictor.labels)}, and {name} has {listed(task.labels)}. Name another"
        )
    if len(task.text_columns) != len(predictor.text_columns):
        texts = {1: "one text", 2: "two texts"}
        raise BadOption(
            f"{place} reads {texts[len(predictor.text_columns)]} per row, and {name} has "
            f"{texts[len(task.text_columns)]}. Name another --task"
        )
    return {split: part.relabelled(task.labels, predictor.labels) for split, part in rows.splits.items()}


def _recorded_rows(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is known of the rows of the training: from the run, or from its cache if that is here."""
    rows = values.get("rows")
    for place in values_of(values.get("cache")) if rows is None else ():
        if isinstance(place, str) and Path(place).is_dir():
            try:
                rows = read_manifest(Path(place)).made.get("rows")
            except BadCache:
                continue
    return rows if isinstance(rows, Mapping) else {}


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) and value else None


def _with_label(raw: RawSplit, predictor: Predictor, column: str) -> RawSplit:
    """Return the rows with a label; the others are counted. Raises `BadRows` if none has one.

    In a multi-label task an empty cell is a row of none of the classes, and has a label.
    """

    def has_label(cell: Any) -> bool:
        if not isinstance(cell, str) or predictor.kind.name == MULTI_LABEL.name or cell in predictor.labels:
            return cell is not None
        is_missing = is_mark(cell) or (cell.strip() == NO_LABEL and predictor.kind.title != REGRESSION.title)
        return not is_missing

    kept = np.array([has_label(cell) for cell in raw.labels], bool)
    names = one_line(", ".join(dict.fromkeys(name_of(place) for place, _ in raw.places)))
    if not kept.any():
        raise BadRows(f"{names}: no row has a label in {one_line(column, 40)}. Name another --label-column")
    if kept.all():
        return raw
    note(f"{names}: {np.count_nonzero(~kept):,} of {len(raw):,} rows do not have a label and are left out")
    return raw.taken(np.flatnonzero(kept))


def _questions(raw: RawSplit, config: EvaluateConfig, predictor: Predictor) -> SplitRows:
    labels, rows = choice_rows({DEV: raw}, predictor.record.task, config.rename_labels, accepted=True)
    if labels != predictor.labels:
        place = one_line(raw.places[0][0])
        raise BadRows(
            f"{place}: its questions have {len(labels)} choices, and {predictor.source.directory} chooses among "
            f"{len(predictor.labels)}. Name another file"
        )
    return rows[DEV]


def check_options(config: EvaluateConfig) -> None:
    """Raise `BadOption` for options about rows that do not fit together."""
    of_file = ("text_columns", "choices_columns", "label_column", "label_separator", "rename_labels")
    given = [name for name in of_file if getattr(config, name) is not None]
    if config.file and (config.task or config.data_dir):
        raise BadOption("--file and --task are different rows. Name one of them")
    if given and not config.file:
        raise BadOption(f"{option_name(given[0])} belongs to the rows of --file. Name a file, or leave it out")
    if config.file and not is_default(config, "split"):
        raise BadOption("the rows of --file are one split. Leave --split out")
    if config.allow_changed_rows and (config.file or config.task or config.data_dir):
        raise BadOption("--allow-changed-rows belongs to the rows of the training. Leave it out")


def of_role(rows: Mapping[str, SplitRows], name: str) -> dict[str, SplitRows]:
    """Return the labelled splits with this name or role. Raises `BadOption` if there are none."""
    chosen = {split: part for split, part in rows.items() if name in (split, role_of(split)) and part.labelled}
    if not chosen:
        labelled = one_line(", ".join(split for split, part in rows.items() if part.labelled))
        raise BadOption(f"there are no labelled rows of the split {name}. Use --split with one of {labelled}")
    return chosen
