"""The card of a model, README.md in the format of the hub, from the record of its run.

Nothing but the record is read, which may come from anyone: what is missing is left out, and every name is code.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.intervals import RESAMPLES
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SCALED_REGRESSION, TASK_KINDS
from pipeline.data.tasks import TASKS
from pipeline.errors import one_line
from pipeline.system.markdown import code, codes, fenced, markdown_table, page
from pipeline.training.card_command import command_of
from pipeline.training.card_usage import usage

CARD = "README.md"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_OF_PROGRAM = ("runs/", "data/", "sweeps/")
TAGS = ("knowledge-distillation", "patient-knowledge-distillation")
Section = tuple[str, str]  # heading, markdown


def model_card(record: Mapping[str, Any], sections: Sequence[Section] = (), how_to_use: str | None = None) -> str:
    """Return the card of a run from its run.json.

    `sections` come after the metrics, as those of an export; `how_to_use` replaces the lines of Python.
    """
    parts = [
        (_title(record), _summary(record)),
        ("Data", _data(record)),
        ("Teacher", _teacher(record)),
        ("Training", _training(record)),
        ("Metrics", _metrics(record)),
        *sections,
        ("Limits", _limits(record)),
        ("Use", how_to_use or usage(record)),
    ]
    return page(_front_matter(record), [part for part in parts if part[1]])


def _inside(record: Mapping[str, Any], *names: str) -> Any:
    """Return a field inside a record; None where it, or one around it, is missing."""
    value: Any = record
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _fields(values: Any) -> Iterable[tuple[Any, Any]]:
    """Return names and values of an object; none of anything else."""
    return values.items() if isinstance(values, Mapping) else ()


def _numbers(values: Any) -> dict[str, float]:
    """Return those fields of an object that are finite numbers."""
    return {
        str(name): value
        for name, value in _fields(values)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _measured(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the metrics of each split."""
    return {str(split): _numbers(metrics) for split, metrics in _fields(_inside(record, "result", "metrics"))}


def _is_student(record: Mapping[str, Any]) -> bool:
    return record.get("command") == "train-student"


def _title(record: Mapping[str, Any]) -> str:
    noun = "Student" if _is_student(record) else "Teacher"
    return f"{noun} for {code(_task(record))}" if _task(record) else noun


def _task(record: Mapping[str, Any]) -> str:
    return one_line(record.get("task") or _inside(record, "config", "task") or "", 100)


def _front_matter(record: Mapping[str, Any]) -> str:
    """Return the metadata of the hub as YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    name, task = _task(record), TASKS.get(_task(record))
    kind = "multiple-choice" if record.get("kind") == MULTIPLE_CHOICE.name else "text-classification"
    hub, configuration = task.hub if task and task.hub else (None, None)
    results = [
        EvalResult(
            task_type=kind,
            dataset_type=hub or "own",
            dataset_name=name or "own rows",
            dataset_config=configuration,
            dataset_split=one_line(split, 40),
            metric_type=one_line(metric, 80),
            metric_value=value,
        )
        for split, metrics in _measured(record).items()
        for metric, value in metrics.items()
    ]
    names = dict.fromkeys(result.metric_type for result in results)
    data = ModelCardData(
        base_model=_base_model(record),
        datasets=[hub] if hub else None,
        eval_results=results or None,
        library_name="transformers",
        metrics=list(names) or None,
        model_name=_title(record).replace("`", "") if results else None,
        pipeline_tag=kind,
        tags=list(TAGS) if _is_student(record) else None,
    )
    return data.to_yaml()


def _base_model(record: Mapping[str, Any]) -> str | None:
    """Return the name on the hub of what the model was made of; None for a path."""
    name = _inside(record, "teacher", "name") if _is_student(record) else _inside(record, "config", "model")
    is_hub = isinstance(name, str) and _HUB_NAME.fullmatch(name) and not name.startswith(_OF_PROGRAM)
    return name if is_hub and not Path(name).exists() else None


def _summary(record: Mapping[str, Any]) -> str:
    labels = record.get("labels") or ()
    of_labels = f" Labels: {codes(labels)}." if isinstance(labels, list | tuple) and labels else ""
    kind = TASK_KINDS.get(record["kind"]) if isinstance(record.get("kind"), str) else None
    of_kind = f" Its task is one of the kind {kind.title}." if kind else ""
    if not _is_student(record):
        return f"An encoder fine-tuned on labels, as a teacher for smaller models.{of_kind}{of_labels}"
    return (
        f"A smaller encoder that was distilled from a fine-tuned teacher (Patient Knowledge Distillation, Sun et al., "
        f"EMNLP 2019).{of_kind}{of_labels}"
    )


def _data(record: Mapping[str, Any]) -> str:
    rows = [("task", code(_task(record)))] if _task(record) else []
    if isinstance(record.get("origin"), str):
        rows.append(("rows from", code(record["origin"])))
    if isinstance(columns := record.get("text_columns"), list | tuple) and columns:
        rows.append(("text columns", codes(columns)))
    for field, name in (("labelled_examples", "examples with a label"), ("unlabelled_examples", "without a label")):
        if isinstance(count := _inside(record, "result", field), int):
            rows.append((name, f"{count:,}"))
    for split, count in _numbers(record.get("dev_examples")).items():
        rows.append((f"examples of {code(split)}", f"{count:,}"))
    if isinstance(length := record.get("max_length"), int):
        rows.append(("longest input", f"{length:,} tokens; longer texts are cut"))
    return _list(rows)


def _list(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in rows)


def _teacher(record: Mapping[str, Any]) -> str:
    if not _is_student(record):
        return ""
    rows = [("teacher", code(name))] if (name := _inside(record, "teacher", "name")) else []
    if identity := _inside(record, "result", "cache_identity"):
        rows.append(("identity of the cache of its outputs", code(identity)))
    for split, values in _fields(_inside(record, "teacher", "metrics")):
        measured = ", ".join(f"{code(metric)} {value:.4g}" for metric, value in _numbers(values).items())
        rows.append((f"its metrics on {code(split)}", measured))
    return _list(rows)


def _training(record: Mapping[str, Any]) -> str:
    rows = []
    if _is_student(record):
        rows = [
            ("method", code(_inside(record, "result", "method"))),
            ("layers", code(_inside(record, "result", "student_layers"))),
        ]
        if isinstance(layers := _inside(record, "result", "teacher_layers"), list) and layers:
            rows.append(("teacher layers that they match", codes(layers)))
    if isinstance(parameters := _inside(record, "result", "parameters"), int):
        rows.append(("parameters", f"{parameters:,}"))
    settings = {
        str(name): value
        for name, value in _fields(record.get("config"))
        if isinstance(value, str | int | float) and not isinstance(value, bool) and name not in ("method", "task")
    }
    if settings:
        rows.append(("settings", ", ".join(f"{code(name)} {code(value)}" for name, value in settings.items())))
    packages = _fields(_inside(record, "environment", "packages"))
    if versions := ", ".join(f"{code(name)} {code(version)}" for name, version in packages):
        rows.append(("made with", versions))
    line = command_of(record, _task(record))
    return _list(rows) + (f"\n\n{fenced(line, 'console')}" if line else "")


def _metrics(record: Mapping[str, Any]) -> str:
    rows = [*_metric_rows(record)]
    if not rows:
        return ""
    text = markdown_table(["split", "metric", "value", "95 % interval"], rows)
    has_intervals = any(row[3] != "–" for row in rows)
    return text + (f"\n\nIntervals: {RESAMPLES:,} bootstrap resamples of the examples." if has_intervals else "")


def _metric_rows(record: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for split, metrics in _measured(record).items():
        for metric, value in metrics.items():
            interval = _inside(record, "intervals", split, metric)
            is_pair = isinstance(interval, list | tuple) and len(_numbers(dict(enumerate(interval)))) == 2
            text = f"{interval[0]:.4f} – {interval[1]:.4f}" if is_pair else "–"
            yield code(split), code(metric), f"{value:.4f}", text
    for split, value in _numbers(_inside(record, "result", "agreement")).items():
        yield code(split), "agreement with the teacher", f"{value:.4f}", "–"


def _limits(record: Mapping[str, Any]) -> str:
    lines = [
        "Metrics are of the dev rows above. On texts of another kind, length or language they can be lower.",
        "Intervals say what another draw of such rows would change. They do not count other seeds of the training.",
        "It was not examined for bias, or for harm that wrong predictions can do.",
    ]
    if _is_student(record):
        lines.append("It learned from the predictions of its teacher, the wrong ones included.")
    if record.get("kind") in (REGRESSION.name, SCALED_REGRESSION.name):
        lines.append("A score can be outside the range of the labels.")
    if record.get("kind") == MULTI_LABEL.name:
        lines.append("The threshold of its probabilities was chosen on the dev rows that it is measured on.")
    return "\n".join(f"- {line}" for line in lines)
