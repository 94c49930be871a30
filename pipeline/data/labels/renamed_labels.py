"""Labels of your own rows under other names, or left out, as --rename-labels says."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.data.labels.label_names import listed, parse_renames, quoted
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.tables.cells import Cell
from pipeline.errors import BadOption, BadRows, one_line


def renamed(splits: Mapping[str, RawSplit], option: str | None, separator: str | None) -> dict[str, RawSplit]:
    """Return the splits with the labels that --rename-labels names replaced.

    A label renamed to null: its rows are left out, or in rows of several labels the label alone. Raises `BadOption` for
    a label that no row has, `BadRows` if a split has no rows left.
    """
    renames = parse_renames(option)
    present: set[str] = set()
    changed = {name: _renamed(raw, renames, separator, present) for name, raw in splits.items()} if renames else splits
    if unknown := [name for name in renames if name not in present]:
        labels = sorted({label for raw in splits.values() for label in raw.labels if isinstance(label, str)})
        raise BadOption(
            f"--rename-labels: no row has the label {quoted(unknown[0])}. Name some of {listed(labels) or 'the lists'}"
        )
    return dict(changed)


def _renamed(raw: RawSplit, renames: Mapping[str, str | None], separator: str | None, present: set[str]) -> RawSplit:
    classes = tuple(dict.fromkeys(name for label in raw.classes if (name := renames.get(label, label)) is not None))
    labels: list[Cell] = []
    kept = np.ones(len(raw), bool)
    for row, cell in enumerate(raw.labels):
        if separator and isinstance(cell, str) and not cell.strip():  # none of the classes; null is a missing label
            present.add("")
            labels.append(cell)
        elif isinstance(cell, list) or (separator and cell):
            items = cell if isinstance(cell, list) else cell.split(separator)
            names = [(item or "").strip() for item in items]
            present.update(names)
            labels.append([name for item in names if (name := renames.get(item, item)) is not None])
        else:
            label = cell or ""
            present.add(label)
            labels.append(renames.get(label, cell))
            kept[row] = renames.get(label, cell) is not None or label not in renames
    if not kept.any():
        place = one_line(raw.places[0][0])
        raise BadRows(f"{place}: --rename-labels leaves all its rows out. Leave fewer labels out, or the file")
    changed = replace(raw, labels=labels, classes=classes)
    return changed if kept.all() else changed.taken(np.flatnonzero(kept))
