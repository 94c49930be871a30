"""The teacher of a task: where it is found, and whether its labels are the task's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.rows import ROW_PATHS, RowsConfig
from pipeline.data.tasks import Task
from pipeline.errors import BadModel, BadOption, HubUnreachable, shell_line
from pipeline.models.checkpoints import label_names, load_classifier, load_tokenizer, locate, name_labels
from pipeline.system.progress import note
from pipeline.training.run_directory import RUN, STARTED


@dataclass(frozen=True)
class Teacher:
    """A loaded teacher and its task, the classes numbered as the teacher numbers them. `name` is where it was found."""

    name: str
    model: Any
    tokenizer: Any
    task: Task


def load_teacher(
    task: Task, rows: RowsConfig, teacher: str | None, revision: str | None, label_map: str | None = None
) -> Teacher:
    """The teacher called `teacher`, else the run in runs/TASK/teacher, else the task's published checkpoint.

    `label_map` are the names of its classes in order, separated by commas, in place of those it has.

    Raises `BadModel` for one that does not fit the task, and with the finetune-teacher line to type when there is
    none; `HubUnreachable` likewise.
    """
    name = find_teacher(task, rows, teacher, revision)
    tokenizer = load_tokenizer(name, revision)
    model: Any = load_classifier(name, revision=revision)
    if model.config.num_labels != task.classes:
        raise BadModel(
            f"{name} has {model.config.num_labels} labels, but the task {task.name} has {task.classes}. "
            "Name another --teacher, or fine-tune one with finetune-teacher"
        )
    if label_map and task.labels is None:
        raise BadOption(f"--label-map names classes, and {task.name} has none: leave it out")
    if label_map and task.labels:
        task = _mapped(task, label_map)
        name_labels(model.config, task.classes, task.labels)
    elif task.labels:
        published = task.published_labels if name == task.published_teacher else None
        task = _in_teachers_order(task, name, label_names(model.config) or published)
        name_labels(model.config, task.classes, task.labels)
    return Teacher(name, model, tokenizer, task)


def find_teacher(task: Task, rows: RowsConfig, teacher: str | None, revision: str | None) -> str:
    """The checkpoint that `load_teacher` loads, and its errors when there is none."""
    own = Path("runs") / task.name / "teacher"
    directory = Path(teacher) if teacher else own
    if (directory / STARTED).is_file() and not (directory / RUN).is_file():
        raise BadModel(f"{directory} is unfinished: run its finetune-teacher command again with --resume")
    if teacher:
        return locate(teacher)
    if (own / RUN).is_file():
        return locate(str(own))
    names = [name for name in (*ROW_PATHS, "text_columns", "label_column") if name != "test_file"]
    options = {name: getattr(rows, name) for name in names}
    if task.hub and not rows.data_dir:
        options["data_dir"] = "DIR"
    given = [word for name, value in options.items() if value for word in (f"--{name.replace('_', '-')}", value)]
    line = shell_line("finetune-teacher", "--task", task.name, *given, "--model", "demo")
    advice = f"Make one: {line} (or any BERT-like encoder)"
    if task.published_teacher is None:
        raise BadModel(f"there is no teacher for {task.name} in {own}. {advice}")
    note(f"no teacher in {own}: taking {task.published_teacher} from the hub")
    try:
        load_tokenizer(task.published_teacher, revision)
    except HubUnreachable as error:
        raise HubUnreachable(
            f"there is no teacher in {own}, and {task.published_teacher} cannot be had from the hub. {advice}"
        ) from error
    return task.published_teacher


def _mapped(task: Task, label_map: str) -> Task:
    """The task with its labels in the order that --label-map gives."""
    assert task.labels is not None
    names = tuple(label_map.split(","))
    if sorted(names) != sorted(task.labels):
        raise BadOption(f"--label-map must name each of {','.join(task.labels)} once, not {label_map}")
    return task.with_labels(names)


def _in_teachers_order(task: Task, name: str, names: tuple[str, ...] | None) -> Task:
    """The task with its labels as the teacher orders them, by name and in any case; as the task's where unnamed."""
    assert task.labels is not None
    if names is None:
        return task
    known = {label.lower(): label for label in task.labels}
    if {n.lower() for n in names} != set(known):
        raise BadModel(
            f"{name} predicts {', '.join(names)}, but the task {task.name} has {', '.join(task.labels)}. "
            "Name another --teacher, or fine-tune one with finetune-teacher"
        )
    return task.with_labels(tuple(known[n.lower()] for n in names))
