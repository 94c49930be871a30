"""The columns that --target-columns names, and what they may be called."""

from dataclasses import dataclass

from pipeline.data.labels.label_names import parse_json_names
from pipeline.data.tables.columns import parse_columns
from pipeline.data.tables.faults import Faults
from pipeline.data.targets.target_cells import TargetCells
from pipeline.errors import BadOption, one_line

EXAMPLES = "one column, or a column for each class: A,B,…, A=CLASS,B=CLASS,… or JSON {column: class}"


@dataclass(frozen=True, kw_only=True)
class TargetColumns:
    """The columns of the targets in the rows: one, or one per class. `classes` are those that the option gives them."""

    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()  # of the columns, in their order; none where the option does not say
    scores: bool = False

    def reader(self, faults: Faults) -> TargetCells:
        """Return an empty collection of cells of these columns."""
        return TargetCells(self.columns, self.scores, faults)


def parse_target_columns(option: str, scores: bool) -> TargetColumns:
    """Return the columns of --target-columns; `scores` for a task without classes. Raises `BadOption`."""
    if option.lstrip().startswith("["):
        raise BadOption(f"--target-columns takes {EXAMPLES}, not a list: {one_line(option)}")
    if option.lstrip().startswith("{"):
        names = parse_json_names("--target-columns", option)
        assert isinstance(names, dict)
        pairs = [(column, str(name)) for column, name in names.items() if name is not None]
    else:
        parts = [part.rpartition("=") if "=" in part else (part, "", "") for part in parse_columns(option)]
        pairs = [(column, name) for column, _, name in parts]
    columns, classes = tuple(column for column, _ in pairs), tuple(name for _, name in pairs if name)
    if "" in columns or not columns or len({*columns}) < len(columns) or len({*classes}) < len(classes):
        raise BadOption(f"--target-columns takes {EXAMPLES}, each once, not {one_line(option)}")
    if classes and len(classes) < len(columns):
        raise BadOption(f"--target-columns names the class of some columns, not of all: {one_line(option)}")
    if scores and (classes or len(columns) > 1):
        raise BadOption(f"--target-columns takes one column of scores with --regression, not {one_line(option)}")
    if len(columns) == 1 and classes:
        raise BadOption("--target-columns names one column for one class: name a column for each class")
    return TargetColumns(columns=columns, classes=classes, scores=scores)
