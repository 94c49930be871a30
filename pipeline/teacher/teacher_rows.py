"""The rows of a cache against those that its teacher was trained with."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.config.options import option_name
from pipeline.config.rows import RowsConfig
from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind
from pipeline.errors import BadRun, one_line
from pipeline.training.run_reader import RUN, read_run
from pipeline.training.trained_rows import changed_splits

COMPARED = ("text_columns", "max_length")  # options that change the inputs of the teacher


def differences(teacher: str, config: RowsConfig, splits: Mapping[str, Split], kind: TaskKind) -> list[str]:
    """Return in words what is not as in the training of a teacher; nothing for a teacher without a run.

    `teacher` is the checkpoint, a directory in that of its run. A cache of other rows can be meant, as of more rows.
    """
    directory = Path(teacher).parent
    if not (directory / RUN).is_file():
        return []
    try:
        record = read_run(directory)
    except BadRun:
        return []
    if record["command"] != "finetune-teacher":
        return []
    trained, run = record["config"], one_line(directory)
    values = {name: (getattr(config, name), trained.get(name)) for name in COMPARED}
    options = [
        f"{option_name(name)} is {one_line(given)}, and {run} was trained with {one_line(trained_with)}"
        for name, (given, trained_with) in values.items()
        if None not in (given, trained_with) and given != trained_with
    ]
    if options:  # they change the tokens of the same rows
        return options
    changed = changed_splits(record, splits, kind)
    return [f"the rows or labels of {', '.join(changed)} are not those that {run} was trained with"] if changed else []
