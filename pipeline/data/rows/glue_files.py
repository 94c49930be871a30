"""The official files of the GLUE tasks: tsv in which quotes are text."""

from pathlib import Path

from pipeline.data.labels.labels import numbered
from pipeline.data.rows.raw_rows import Gathering
from pipeline.data.rows.rows import SplitRows, TaskRows
from pipeline.data.tables.columns import Wanted
from pipeline.data.tables.delimited import plain_records
from pipeline.data.tables.places import check_file
from pipeline.data.tasks import TEST, SplitSource, Task
from pipeline.errors import BadRows


def glue_rows(task: Task, directory: Path) -> TaskRows:
    """Return the splits of a GLUE task from the directory of its files. Raises `BadRows`."""
    missing = [s.file for s in task.splits if s.role != TEST and not (directory / s.file).is_file()]
    if missing:
        raise BadRows(
            f"--data-dir {directory} has no {', '.join(missing)}. Give the directory of the official "
            f"{task.name} files of GLUE"
        )
    sources = [s for s in task.splits if (directory / s.file).is_file()]
    splits = {s.name: glue_split(task, s, str(directory / s.file)) for s in sources}
    return TaskRows(task, splits, f"files {', '.join(s.file for s in sources)}")


def glue_split(task: Task, source: SplitSource, place: str) -> SplitRows:
    """Return the rows of one file; rows that are known to be broken in the published files are passed over."""
    has_header = source.name not in task.headerless
    texts = task.text_columns if task.headerless and has_header else task.file_columns
    label = (task.file_label,)
    wanted = Wanted(texts, label, True) if source.role == TEST else Wanted((*texts, *label), official=True)
    gathering = Gathering(texts)
    gathering.begin(place)
    check_file(place)
    header: list[str] = []
    positions: list[int | None] = []
    for number, fields in plain_records(place, gathering.faults):
        if fields == [""]:
            continue
        if not header:
            header = fields if has_header else [str(index) for index in range(len(fields))]
            positions = wanted.positions(place, header)
            if has_header:
                continue
        if len(fields) == len(header):
            cells = tuple(None if position is None else fields[position] for position in positions)
            gathering.add((number, cells))
        elif not task.broken_rows:
            gathering.faults.add("fields", place, number, f"has {len(fields)} fields, not {len(header)}")
    return numbered(gathering.split(), task, source.name)
