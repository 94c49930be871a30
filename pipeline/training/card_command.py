"""The command that makes a model again, for its card: from the record of its run, wherever that was trained."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from pipeline.config.options import PLACES, option_name, values_of
from pipeline.config.training import FinetuneTeacherConfig, TrainStudentConfig
from pipeline.errors import one_line
from pipeline.training.provenance import shareable_place

CONFIGS = {"train-student": TrainStudentConfig, "finetune-teacher": FinetuneTeacherConfig}
LONGEST = 2000  # characters


def command_of(record: Mapping[str, Any], task: str) -> str | None:
    """Return the line that repeats a run, on one line; None for a record that does not say how it was made.

    A cache is where it is by default: the card names it by its identity. Of other paths the last name is left.
    """
    config, rows = record.get("config"), record.get("rows")
    if record.get("command") not in CONFIGS or not isinstance(config, Mapping) or not task:
        return None
    kind = CONFIGS[str(record["command"])]
    values = {**(rows if isinstance(rows, Mapping) else {}), **config}
    words = ["--cache", f"data/{task}"] if kind is TrainStudentConfig else []
    for field in dataclasses.fields(kind):
        value = values.get(field.name)
        if field.name in values and value is not None and value != field.default and field.name != "cache":
            words += _words(field, value)
    return one_line(f"pkd {shlex.join([str(record['command']), *words])}", LONGEST)


def _words(field: dataclasses.Field, value: Any) -> list[str]:
    """Return an option with its value, as often as it has one; numbers of layers are one value."""
    name, is_place = option_name(field.name), field.metadata["metavar"] in PLACES
    if isinstance(value, bool):
        return [name] if value else []
    if isinstance(value, list | tuple) and not field.metadata["repeatable"]:
        value = ",".join(map(str, value))
    texts = [f"{each:g}" if isinstance(each, float) else str(each) for each in values_of(value)]
    return [word for text in texts for word in (name, shareable_place(text) if is_place else text)]
