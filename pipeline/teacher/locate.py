"""The teacher of a task: finding it, and matching its labels to the task's."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.options import option_name, values_of
from pipeline.config.rows import ROW_PATHS, RowsConfig
from pipeline.data.labels.label_names import listed
from pipeline.data.task_kinds import MULTI_LABEL, kind_of_model
from pipeline.data.tasks import Task
from pipeline.errors import BadModel, BadOption, HubUnreachable, one_line, shell_line
from pipeline.models.checkpoints import load_classifier, load_config, load_tokenizer, locate, output_names
from pipeline.models.encoders import is_multiple_choice
from pipeline.system.progress import note
from pipeline.teacher.label_order import in_teachers_order, with_label_map
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

    `label_map` says what its outputs mean: classes in order, separated by commas, or JSON (see `with_label_map`).

    Raises `BadModel` for a teacher that does not fit the task. If there is none, `BadModel` or `HubUnreachable` names
    the finetune-teacher line to type.
    """
    name = find_teacher(task, rows, teacher, revision)
    tokenizer = load_tokenizer(name, revision)
    model: Any = load_classifier(name, revision=revision)
    if is_multiple_choice(model.config) != task.head.multiple_choice:
        wanted = "multiple-choice model" if task.head.multiple_choice else "classifier of single inputs"
        raise BadModel(
            f"{name} is a {type(model).__name__}, and the teacher of {task.name} must be a {wanted}. "
            "Name another --teacher, or fine-tune one with finetune-teacher"
        )
    if task.head.multiple_choice:  # the same weights for any number of choices
        task.head.configure(model.config)
    _check_fits(name, model.config, task)
    if label_map and not task.kind.has_classes:
        raise BadOption(f"--label-map names classes, and {task.name} does not have any: leave it out")
    if label_map:
        task = with_label_map(task, label_map, output_names(model.config))
    elif task.kind.has_classes:
        published = task.published_labels if name == task.published_teacher else None
        task = in_teachers_order(task, name, output_names(model.config), published)
    try:
        task = replace(task, kind=kind_of_model(task.kind, model.config))
    except ValueError as error:
        raise BadModel(
            f"{name}: its configuration cannot be used ({one_line(error)}). Name another --teacher"
        ) from error
    if task.kind.has_classes:
        task.head.configure(model.config)
    return Teacher(name, model, tokenizer, task)


def _check_fits(name: str, config: Any, task: Task) -> None:
    """Raise `BadModel` for a teacher of another kind, or with another number of outputs."""
    way_on = "Name another --teacher, or fine-tune one with finetune-teacher"
    problem_type = config.problem_type
    if problem_type is None and getattr(config, "function_to_apply", None) == "sigmoid" and config.num_labels > 1:
        problem_type = MULTI_LABEL.problem_type
    if not task.kind.accepts(problem_type):
        raise BadModel(
            f"{name} was trained for {one_line(problem_type, 40)}, but the task {task.name} is "
            f"{task.kind.problem_type}. {way_on}"
        )
    if config.num_labels != task.num_logits:
        names = f" ({listed(output_names(config))})" if config.num_labels > 1 else ""
        labels = f" ({listed(task.labels)})" if task.labels else ""
        raise BadModel(
            f"{name} has {config.num_labels} labels{names}, but the task {task.name} has {task.num_logits}{labels}. "
            + way_on
        )


def teachers_classes(rows: RowsConfig, teacher: str | None, revision: str | None) -> tuple[str, ...]:
    """Return the names of a teacher's classes, for own rows without any label. Raises the errors of `load_teacher`."""
    unread = Task(rows.task, (), (), ())  # all that is known of the task is its name
    return output_names(load_config(find_teacher(unread, rows, teacher, revision), revision))


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
    columns = ("text_columns", "choices_columns", "num_choices", "label_column", "rename_labels")
    names = [name for name in (*ROW_PATHS, "dev_fraction", *columns) if name not in ("test_file", "unlabelled_file")]
    options = {name: getattr(rows, name) for name in names}
    if task.hub and not rows.data_dir:
        options["data_dir"] = "DIR"
    given = [w for name, value in options.items() for each in values_of(value) for w in (option_name(name), each)]
    given += ["--yes"] if rows.yes else []
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
