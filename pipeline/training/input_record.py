"""The record in run.json with which a run predicts without its rows or its cache: its texts, its task, its labels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipeline.cache.format.manifest import Manifest
from pipeline.config.options import values_of
from pipeline.config.rows import RowsConfig
from pipeline.data.tables.columns import parse_columns
from pipeline.data.tasks import TASKS, Task

MOST_TOKENS = 2**20  # in an input


@dataclass(frozen=True, kw_only=True)
class InputRecord:
    """The inputs of a model in the words of its rows, and the names of its outputs.

    `text_columns` is empty where the columns are not known, and `choices_columns` for a task without choices.
    """

    task: str
    kind: str  # of the task: a name in TASK_KINDS
    labels: tuple[str, ...]  # in the order of the outputs; empty where the kind does not have classes or choices
    text_columns: tuple[str, ...]
    choices_columns: tuple[str, ...]
    max_length: int  # tokens

    @classmethod
    def of_rows(cls, task: Task, config: RowsConfig) -> Self:
        """Return the record of a teacher that was trained on the rows of a task."""
        columns = parse_columns(config.choices_columns) if config.choices_columns else values_of(task.choices_column)
        return cls(
            task=task.name,
            kind=task.kind.name,
            labels=task.labels,
            text_columns=task.text_columns,
            choices_columns=columns,
            max_length=config.max_length,
        )

    @classmethod
    def of_cache(cls, manifest: Manifest, max_length: int) -> Self:
        """Return the record of a student that was trained from a cache, on inputs of at most `max_length` tokens."""
        task = TASKS.get(manifest.task.name)
        rows = manifest.made.get("rows")
        texts, choices = manifest.task.text_columns, _columns_of(rows, "choices_columns")
        if task and not texts:
            texts = task.text_columns
        if task and not choices:
            choices = values_of(task.choices_column)
        return cls(
            task=manifest.task.name,
            kind=manifest.fields.kind,
            labels=manifest.task.labels,
            text_columns=texts or _columns_of(rows, "text_columns"),
            choices_columns=choices if manifest.fields.sequences > 1 else (),
            max_length=max_length,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the record in a run.json or export.json. Raises ValueError for one that cannot be."""
        length = value.get("max_length")
        if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= MOST_TOKENS:
            raise ValueError(f"max_length is {length!r:.40}")
        return cls(
            task=_text(value, "task"),
            kind=_text(value, "kind"),
            labels=_names(value, "labels"),
            text_columns=_names(value, "text_columns"),
            choices_columns=_names(value, "choices_columns"),
            max_length=length,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as run.json has them; `choices_columns` where there are any."""
        value = {name: list(item) if isinstance(item, tuple) else item for name, item in asdict(self).items()}
        return value if self.choices_columns else {k: v for k, v in value.items() if k != "choices_columns"}


def _columns_of(rows: Any, option: str) -> tuple[str, ...]:
    """Return the columns that an option of the rows of a cache names; the record may come from anyone."""
    value = rows.get(option) if isinstance(rows, dict) else None
    return parse_columns(value) if isinstance(value, str) and value else ()


def _text(value: Mapping[str, Any], name: str) -> str:
    """Return a field that is a text, not an empty one. Raises ValueError."""
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise ValueError(f"{name} is {text!r:.40}")
    return text


def _names(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a field that is a list of different names, or null. Raises ValueError."""
    names = value.get(name) or []
    if not isinstance(names, list) or not all(isinstance(entry, str) and entry for entry in names):
        raise ValueError(f"{name} is {names!r:.40}")
    if len({*names}) < len(names):
        raise ValueError(f"{name} has a name twice")
    return tuple(names)
