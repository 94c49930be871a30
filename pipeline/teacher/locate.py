"""The teacher of a task: finding it, and matching its labels to the task's."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.options import option_name, values_of
from pipeline.config.rows import ROW_PATHS, RowsConfig
from pipeline.data.task_kinds import kind_of_model
from pipeline.data.tasks import Task
from pipeline.errors import BadModel, BadOption, HubUnreachable, one_line, shell_line
from pipeline.models.checkpoints import label_names, load_classifier, load_tokenizer, locate
from pipeline.system.progress import note
from pipeline.training.run_reader import RUN, STARTED


@dataclass(frozen=True)
class Teacher:
    """A loaded teacher and its task, whose classes have the teacher's numbers. `name` is the checkpoint."""

    name: str
    model: Any
    tokenizer: Any
    task: Task


def load_teacher(
    task: Task, rows: RowsConfig, teacher: str | None, revision: str | None, label_map: str | None = None
) -> Teacher:
    """Return the teacher called `teacher`, else the run in runs/TASK/teacher, else the task's published checkpoint.

    `label_map` replaces the names of its classes: in order, separated by commas.

    Raises `BadModel` for a teacher that does not fit the task. If there is none, `BadModel` or `HubUnreachable` names
    the finetune-teacher line to type.
    """
    name = find_teacher(task, rows, teacher, revision)
    tokenizer = load_tokenizer(name, revision)
    model: Any = load_classifier(name, revision=revision)
    problem_type = getattr(model.config, "problem_type", None)
    if not task.kind.accepts(problem_type):
        raise BadModel(
            f"{name} was trained for {problem_type}, but the task {task.name} is {task.kind.problem_type}. "
            "Name another --teacher, or fine-tune one with finetune-teacher"
        )
    if model.config.num_labels != task.num_logits:
        raise BadModel(
            f"{name} has {model.config.num_labels} labels, but the task {task.name} has {task.num_logits}. "
            "Name another --teacher, or fine-tune one with finetune-teacher"
        )
    if label_map and not task.kind.has_classes:
        raise BadOption(f"--label-map names classes, and {task.name} does not have any: leave it out")
    if label_map:
        task = _with_label_map(task, label_map)
    elif task.kind.has_classes:
        published = task.published_labels if name == task.published_teacher else None
        task = _in_teachers_order(task, name, label_names(model.config) or published)
    try:
        task = replace(task, kind=kind_of_model(task.kind, model.config))
    except ValueError as error:
        raise BadModel(
            f"{name}: its configuration cannot be used ({one_line(error)}). Name another --teacher"
        ) from error
    if task.kind.has_classes:
        task.head.configure(model.config)
    return Teacher(name, model, tokenizer, task)


def find_teacher(task: Task, rows: RowsConfig, teacher: str | None, revision: str | None) -> str:
    """Return the checkpoint that `load_teacher` loads. Raises its errors if there is none."""
    default = Path("runs") / task.name / "teacher"
    directory = Path(teacher) if teacher else default
    if (directory / STARTED).is_file() and not (directory / RUN).is_file():
        raise BadModel(f"{directory} is unfinished: run its finetune-teacher command again with --resume")
    if teacher:
        return locate(teacher)
    if (default / RUN).is_file():
        return locate(str(default))
    names = [name for name in (*ROW_PATHS, "dev_fraction", "text_columns", "label_column") if name != "test_file"]
    options = {name: getattr(rows, name) for name in names}
    if task.hub and not rows.data_dir:
        options["data_dir"] = "DIR"
    given = [w for name, value in options.items() for each in values_of(value) for w in (option_name(name), each)]
    line = shell_line("finetune-teacher", "--task", task.name, *given, "--model", "demo")
    advice = f"Make one: {line} (or any BERT-like encoder)"
    if task.published_teacher is None:
        raise BadModel(f"there is no teacher for {task.name} in {default}. {advice}")
    note(f"no teacher in {default}: taking {task.published_teacher} from the hub")
    try:
        load_tokenizer(task.published_teacher, revision)
    except HubUnreachable as error:
        raise HubUnreachable(
            f"there is no teacher in {default}, and {task.published_teacher} could not be downloaded from the hub. "
            + advice
        ) from error
    return task.published_teacher


def _with_label_map(task: Task, label_map: str) -> Task:
    """Return the task with its labels in the order of --label-map."""
    names = tuple(label_map.split(","))
    if sorted(names) != sorted(task.labels):
        raise BadOption(f"--label-map must name each of {','.join(task.labels)} once, not {label_map}")
    return task.with_labels(names)


def _in_teachers_order(task: Task, name: str, names: tuple[str, ...] | None) -> Task:
    """Return the task with its labels in the teacher's order, matched by name in any case; unchanged for no names."""
    if names is None:
        return task
    labels = {label.lower(): label for label in task.labels}
    if {n.lower() for n in names} != set(labels):
        raise BadModel(
            f"{name} predicts {', '.join(names)}, but the task {task.name} has {', '.join(task.labels)}. "
            "Name another --teacher, or fine-tune one with finetune-teacher"
        )
    return task.with_labels(tuple(labels[n.lower()] for n in names))
