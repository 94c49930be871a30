"""The classes of your own rows."""

import re
from pathlib import Path

from pipeline.data.rows import check_columns
from pipeline.data.tables import read_table
from pipeline.errors import BadRows


def own_labels(path: Path, column: str) -> tuple[str, ...]:
    """Return the classes of a training file: sorted as numbers where all are whole numbers, else as text."""
    labels = set()
    for number, row in read_table(path):
        check_columns(path, row, (column,))
        if not row[column].strip():
            raise BadRows(f"{path} line {number}: no label in {column}. Fill it in, or remove the row")
        labels.add(row[column])
    if not labels:
        raise BadRows(f"{path} does not have any rows. Check the file")
    if len(labels) < 2:
        raise BadRows(f"{path}: column {column!r} has only one label; training needs two or more")
    is_whole = all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels)
    return tuple(sorted(labels, key=lambda label: (int(label), label)) if is_whole else sorted(labels))
