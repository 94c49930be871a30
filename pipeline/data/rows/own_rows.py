"""The user's own rows: files, or a data set of the library `datasets`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from pipeline.config.options import values_of
from pipeline.config.rows import RowsConfig
from pipeline.data.labels.label_cells import check_cells
from pipeline.data.labels.label_columns import fitted, kind_of_rows, own_task, split_rows
from pipeline.data.labels.missing_labels import check_dev, note_missing, with_marked_missing, with_missing
from pipeline.data.labels.renamed_labels import renamed
from pipeline.data.rows.choices import choice_rows, with_choices
from pipeline.data.rows.dev_rows import CLASS, with_dev
from pipeline.data.rows.leaks import without_leaks
from pipeline.data.rows.raw_rows import Gathering, RawSplit, read_files, wanted_columns
from pipeline.data.rows.rows import TaskRows
from pipeline.data.tables.columns import parse_columns
from pipeline.data.tables.dataset_tables import class_names, load_dataset, read_dataset, split_of
from pipeline.data.tables.places import expand, name_of
from pipeline.data.targets.target_columns import TargetColumns
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE
from pipeline.data.tasks import DEV, TASK_NAME, TASKS, TEST, TRAIN, Task, role_of
from pipeline.errors import BadOption, BadRows, one_line
from pipeline.system.progress import note

NO_COLUMN = "\0"  # in place of the name of the label column: no header has it


class RowTargets(Protocol):
    """Turns columns of the rows into targets."""

    @property
    def columns(self) -> TargetColumns:
        """The columns to read beside texts and labels."""
        ...

    def classes(self, raw: Mapping[str, RawSplit]) -> tuple[str, ...]:
        """Return the classes of rows that do not have a label; none if the targets do not say."""
        ...

    def added(self, rows: TaskRows, raw: Mapping[str, RawSplit]) -> TaskRows:
        """Return the rows with their targets, and the task with its classes in the order of these."""
        ...


def own_rows(
    config: RowsConfig,
    classes: tuple[str, ...] | None = None,
    teachers: Callable[[], tuple[str, ...]] | None = None,
    targets: RowTargets | None = None,
) -> TaskRows:
    """Return the splits of the user's files or data set; `classes` of a trained model replace those of the rows.

    Where `targets` names columns of them, the rows have targets too. `teachers` returns the classes of the teacher, for
    rows without any label; the targets say them as well. Raises `BadOption`, `BadRows`, `HubUnreachable`.
    """
    target_columns = targets.columns if targets else None
    columns = _text_columns(config, target_columns)
    label, choices = config.label_column or NO_COLUMN, _choices_columns(config)
    if config.dataset:
        raw = dataset_rows(config.dataset, columns, label, choices, target_columns)
        origin = f"data set {name_of(config.dataset)}"
    else:
        raw, origin = _file_rows(config, columns, label, choices, target_columns)
    if classes is None and not (config.yes or config.regression or choices):
        check_cells(raw, label, config.label_separator)
    raw = with_marked_missing(raw, config.unlabelled_label)
    raw = renamed(raw, config.rename_labels, config.label_separator)
    if config.num_choices:
        raw = {name: with_choices(part, config.num_choices, name) for name, part in raw.items()}
    several = not choices and kind_of_rows(config, raw[TRAIN].labels) is MULTI_LABEL
    raw |= {} if several else {TRAIN: with_missing(raw[TRAIN], None, blank=True)}
    for name in raw:
        if role_of(name) == DEV and not (several and config.label_column):  # of these, each row is named
            check_dev(raw[name], config.label_column, config.unlabelled_label)
    note_missing(raw[TRAIN])
    if config.dev_fraction:
        if dev := [name for name in raw if role_of(name) == DEV]:
            raise BadOption(f"there are dev rows already ({one_line(dev[0])}): leave --dev-fraction out")
        train, dev_rows = with_dev(raw[TRAIN], config.dev_fraction, _noun(config, raw[TRAIN]))
        raw = {TRAIN: train, DEV: dev_rows, **{name: part for name, part in raw.items() if name != TRAIN}}
    train, leaks = without_leaks(raw[TRAIN], raw, config.drop_leaks)
    raw = raw | {TRAIN: train}
    teachers = partial(targets.classes, raw) if targets else teachers
    if choices:
        labels, splits = choice_rows(raw, config.task, config.rename_labels, config.yes or classes is not None)
        task = Task(config.task, columns, labels, ("accuracy",), MULTIPLE_CHOICE)
    else:
        task = own_task(config, columns, train, classes, teachers)
        splits = {name: split_rows(part, task, name, config, classes is not None) for name, part in raw.items()}
        task = fitted(task, splits[TRAIN], train, teachers is not None)
    rows = TaskRows(task, splits, origin, leaks)
    return targets.added(rows, raw) if targets else rows


def _noun(config: RowsConfig, train: RawSplit) -> str:
    """Return what the rows have in their label column, in words."""
    if config.regression or config.choices_columns:
        return "score" if config.regression else "answer"
    has_several = config.label_separator or any(isinstance(label, list) for label in train.labels)
    return "set of labels" if has_several else CLASS


def _text_columns(config: RowsConfig, targets: TargetColumns | None) -> tuple[str, ...]:
    """Return the text columns. Raises `BadOption` for options that do not fit together."""
    source = "--dataset" if config.dataset else "--train-file"
    if config.task in TASKS or config.data_dir:
        problem = f"{config.task} is a task of its own" if config.task in TASKS else "--data-dir is for GLUE tasks"
        raise BadOption(f"{source} brings your own rows, but {problem}. Choose another --task name for them")
    files = [name for name in ("train_file", "dev_file", "test_file") if getattr(config, name)]
    if config.dataset and files:
        raise BadOption(f"--dataset brings all splits: leave --{files[0].replace('_', '-')} out, or use files alone")
    if not TASK_NAME.fullmatch(config.task):
        raise BadOption(f"--task {config.task!r} names directories: use letters, digits, '.', '_' and '-'")
    if not config.text_columns or not (config.label_column or targets):
        raise BadOption("your own rows need --text-columns A (or A,B) and --label-column C")
    columns = parse_columns(config.text_columns)
    if len(columns) > 2 or len(set(columns)) < len(columns) or "" in columns:
        raise BadOption(f"--text-columns takes one column or two different ones as A,B, not {config.text_columns!r}")
    if config.label_column in columns:
        raise BadOption(f"--label-column {config.label_column} is a text column too: the answer would be in the input")
    if taken := [name for name in (targets.columns if targets else ()) if name in (*columns, config.label_column)]:
        raise BadOption(f"--target-columns {one_line(taken[0])} is a column of texts or labels too. Name another one")
    return columns


def _choices_columns(config: RowsConfig) -> tuple[str, ...]:
    """Return the columns of the choices: one of lists, or one for each choice; none for another kind of task."""
    columns = parse_columns(config.choices_columns) if config.choices_columns else ()
    taken = (*parse_columns(str(config.text_columns)), str(config.label_column))
    if "" in columns or len({*columns, *taken}) < len(columns) + len(taken):
        raise BadOption(
            "--choices-columns takes one column of lists, or the column of each choice as A,B,…, other than the "
            f"columns of texts and labels, not {config.choices_columns!r}"
        )
    if config.num_choices and not columns:
        raise BadOption("--num-choices belongs to questions with choices: give --choices-columns as well")
    if columns and (config.regression or config.label_separator):
        option = "--regression" if config.regression else "--label-separator"
        raise BadOption(f"--choices-columns is for one right choice per row: leave {option} out")
    return columns


def _file_rows(
    config: RowsConfig,
    columns: tuple[str, ...],
    label: str,
    choices: tuple[str, ...],
    targets: TargetColumns | None,
) -> tuple[dict[str, RawSplit], str]:
    """Return the splits of --train-file, --dev-file and --test-file, and their names in words."""
    files = {TRAIN: values_of(config.train_file), DEV: values_of(config.dev_file), TEST: values_of(config.test_file)}
    raw = {
        split: read_files(expand(places), columns, label, split, choices, targets)
        for split, places in files.items()
        if places
    }
    names = [name_of(place).rpartition("/")[2] for places in files.values() for place in places]
    return raw, f"files {', '.join(names)}"


def dataset_rows(
    name: str,
    columns: tuple[str, ...],
    label: str,
    choices: tuple[str, ...] = (),
    targets: TargetColumns | None = None,
) -> dict[str, RawSplit]:
    """Return the splits train, dev… and test… of a data set; others are passed over with a note."""
    parts = load_dataset(name)
    named = {split_of(split): (split, data) for split, data in parts.items()}
    roles = {split: role_of(split) for split in named}
    if TRAIN not in named:
        raise BadRows(
            f"the data set {name_of(name)} has no split train; it has {one_line(', '.join(parts))}. Use files"
        )
    raw = {}
    for role in (TRAIN, DEV, TEST):
        for split in (split for split in named if roles[split] == role):
            place, data = f"{name_of(name)} {named[split][0]}", named[split][1]
            wanted = wanted_columns(columns, label, role, choices, targets)
            gathering = Gathering(columns, choices, targets, unit="row")
            gathering.begin(place)
            for row in read_dataset(place, data, wanted, gathering.faults):
                gathering.add(row)
            raw[split] = gathering.split(class_names(data, label))
    if unused := [split for split in named if split not in raw]:
        note(f"{name_of(name)}: the splits {one_line(', '.join(unused))} are not used")
    return raw
