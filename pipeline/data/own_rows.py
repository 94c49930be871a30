"""The user's own files of rows."""

from pipeline.config.rows import RowsConfig
from pipeline.data.labels import numbered, own_labels
from pipeline.data.places import expand, shown
from pipeline.data.rows import TaskRows, read_files
from pipeline.data.tasks import DEV, TASK_NAME, TASKS, TEST, TRAIN, Task
from pipeline.errors import BadOption


def own_rows(config: RowsConfig) -> TaskRows:
    """Return the splits of --train-file, --dev-file and --test-file. Raises `BadOption`, `BadRows`."""
    if config.task in TASKS or config.data_dir:
        problem = f"{config.task} is a task of its own" if config.task in TASKS else "--data-dir is for GLUE tasks"
        raise BadOption(f"--train-file brings your own rows, but {problem}. Choose another --task name for them")
    if not TASK_NAME.fullmatch(config.task):
        raise BadOption(f"--task {config.task!r} names directories: use letters, digits, '.', '_' and '-'")
    if not config.text_columns or not config.label_column:
        raise BadOption("your own rows need --text-columns A (or A,B) and --label-column C")
    columns = tuple(config.text_columns.split(","))
    if len(columns) > 2 or len(set(columns)) < len(columns) or "" in columns:
        raise BadOption(f"--text-columns takes one column or two different ones as A,B, not {config.text_columns!r}")
    if config.label_column in columns:
        raise BadOption(f"--label-column {config.label_column} is a text column too: the answer would be in the input")
    files = {"train": config.train_file, DEV: config.dev_file, TEST: config.test_file}
    places = {split: (file,) for split, file in files.items() if file}
    raw = {split: read_files(expand(paths), columns, config.label_column, split) for split, paths in places.items()}
    task = Task(config.task, columns, own_labels(raw[TRAIN], config.label_column), ("accuracy",))
    origin = ", ".join(shown(path).rpartition("/")[2] for paths in places.values() for path in paths)
    return TaskRows(task, {split: numbered(part, task) for split, part in raw.items()}, f"files {origin}")
