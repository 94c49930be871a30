"""The directory of a model that predicts: a finished run, or an export; and its record, whatever version wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.cache.open import open_caches
from pipeline.cache.teacher_config import CONFIG, checked_config, read_object
from pipeline.config.options import values_of
from pipeline.config.rows import RowsConfig
from pipeline.data.tables.columns import parse_columns
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.data.tasks import TASKS
from pipeline.errors import BadModel, BadRun, one_line
from pipeline.models.checkpoints import output_names
from pipeline.models.encoders import is_multiple_choice
from pipeline.system.digests import file_digest, intact, json_digest
from pipeline.system.system_errors import raise_if_of_system
from pipeline.training.input_record import InputRecord
from pipeline.training.run_reader import (
    MODEL,
    RUN,
    STARTED,
    as_recorded,
    check_identity_of_run,
    model_directory,
    read_run,
)

EXPORT = "export.json"
ONNX, ONNX_FILE = "onnx", "model.onnx"
FORMATS = ("safetensors", ONNX)


@dataclass(frozen=True)
class ModelSource:
    """A model on disk: `directory` is the run or export, `model` has its files, `values` are run.json or export.json.

    `format` is safetensors or onnx.
    """

    directory: Path
    model: Path
    format: str
    values: Mapping[str, Any]

    @property
    def is_export(self) -> bool:
        """Whether it is an export; else it is a run."""
        return self.directory == self.model

    @property
    def file(self) -> Path:
        """The file of its record."""
        return self.directory / (EXPORT if self.is_export else RUN)

    @property
    def way_on(self) -> str:
        """The advice where it is damaged."""
        return "Export the run again" if self.is_export else "Train the run again"

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the files of the model and its tokenizer."""
        files = [file for file in sorted(self.model.iterdir()) if file.is_file() and file.suffix != ".md"]
        return json_digest({file.name: file_digest(file) for file in files})

    @property
    def precision(self) -> str | None:
        """The precision that the model was trained in, or an export compared in; None where it is not known."""
        if self.is_export:
            return "float32"
        value = self.values.get("config", {}).get("precision")
        return value if isinstance(value, str) else None

    def config(self) -> Any:
        """Return the configuration of the model, read as plain JSON first. Raises `BadRun` for a damaged one."""
        try:
            return checked_config(self.model)
        except (OSError, ValueError, TypeError, BadModel) as error:
            raise_if_of_system(error)
            raise self.damaged(self.model / CONFIG, error) from error

    def damaged(self, file: Path, reason: object) -> BadRun:
        """Return the error for a damaged file of it."""
        return BadRun(f"{file} is damaged ({one_line(reason)}). {self.way_on}")


def find_model(place: str | Path) -> ModelSource:
    """Return the model of a finished run, named by its directory or by its model/, or of an export.

    Raises `BadRun` for a run that is not finished, and for a directory that is neither.
    """
    directory = Path(place)
    if not directory.exists():
        raise BadRun(f"{directory}: there is no such directory. Name a finished run, or what the command export wrote")
    if (directory / EXPORT).is_file():
        return _export(directory)
    is_model = directory.absolute().name == MODEL  # also where it is called '.'
    parent = directory.absolute().parent if directory.name != MODEL else directory.parent
    run = parent if is_model and any((parent / name).is_file() for name in (RUN, STARTED)) else directory
    if not any((run / name).is_file() for name in (RUN, STARTED)):
        raise BadRun(
            f"{directory} is not a run or an export (no {RUN}, no {EXPORT}). Pass the --out directory of "
            "finetune-teacher, train-student or export"
        )
    values = read_run(run)
    return ModelSource(run, model_directory(run), "safetensors", values)


def _export(directory: Path) -> ModelSource:
    try:
        values = read_object(directory / EXPORT)
        if values.get("format") not in FORMATS:
            raise ValueError(f"format is {values.get('format')!r:.40}")
        files = values.get("files", {})
        if not isinstance(files, dict) or any(Path(name).name != name for name in files):
            raise ValueError(f"files is {files!r:.40}")
        source = ModelSource(directory, directory, values["format"], values)
        for name, digest in files.items():
            if not name.endswith(".md") and not intact(directory / name, digest):
                raise source.damaged(directory / name, "its bytes are not those that were exported")
        return source
    except (OSError, ValueError) as error:
        raise_if_of_system(error)
        raise BadRun(f"{directory / EXPORT} is damaged ({one_line(error)}). Export the run again") from error


def input_record(source: ModelSource, config: Any, cache: str | tuple[str, ...] | None = None) -> InputRecord:
    """Return what is recorded of the inputs of a model; `config` is the configuration of the model.

    A run of an earlier version does not record them: they are read from its rows or from its cache, which `cache`
    names where it was moved, and what cannot be found is empty or 0. Raises `BadRun`, `BadCache`.
    """
    try:
        if source.is_export or "text_columns" in source.values:
            return InputRecord.from_json(source.values)
    except ValueError as error:
        raise source.damaged(source.file, error) from error
    if "rows" in source.values:
        return _of_rows(source, config)
    return _of_cache(source, config, cache)


def _of_rows(source: ModelSource, config: Any) -> InputRecord:
    """Return the record of a teacher of an earlier version."""
    rows = as_recorded(RowsConfig, source.values["rows"], source.file, "Train the run again")
    task = TASKS.get(rows.task)
    texts = parse_columns(rows.text_columns) if rows.text_columns else task.text_columns if task else ()
    choices = parse_columns(rows.choices_columns) if rows.choices_columns else ()
    if task and not choices:
        choices = values_of(task.choices_column)
    kind, labels = _outputs(config)
    return InputRecord(
        task=rows.task,
        kind=kind,
        labels=labels,
        text_columns=texts,
        choices_columns=choices,
        max_length=rows.max_length,
    )


def _of_cache(source: ModelSource, config: Any, cache: str | tuple[str, ...] | None) -> InputRecord:
    """Return the record of a student of an earlier version, whose cache may be gone."""
    kind, labels = _outputs(config)
    own_length = source.values.get("max_length")
    length = own_length if isinstance(own_length, int) else 0
    names = values_of(cache) or values_of(source.values.get("cache"))
    if not names or not (cache or all("://" in str(name) or Path(name).is_dir() for name in names)):
        return InputRecord(task="", kind=kind, labels=labels, text_columns=(), choices_columns=(), max_length=length)
    opened = open_caches(names)
    check_identity_of_run(opened, source.values.get("inputs", {}).get("cache"))
    return InputRecord.of_cache(opened.manifest, length or opened.manifest.fields.max_length)


def _outputs(config: Any) -> tuple[str, tuple[str, ...]]:
    """Return the kind of task of a model, and its labels, as its configuration has them."""
    names = output_names(config)
    if is_multiple_choice(config):
        return MULTIPLE_CHOICE.name, names
    if config.problem_type == MULTI_LABEL.problem_type:
        return MULTI_LABEL.name, names
    if config.problem_type == REGRESSION.problem_type or len(names) == 1:
        is_scaled = all(hasattr(config, name) for name in SCALED_REGRESSION.setting_names)
        return (SCALED_REGRESSION if is_scaled else REGRESSION).name, ()
    return SINGLE_LABEL.name, names
