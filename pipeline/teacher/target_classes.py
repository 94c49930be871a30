"""Which class each number of the target columns means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.data.labels.label_names import (
    LONGEST,
    MOST_RENAMES,
    json_word,
    listed,
    parse_json_names,
    quoted,
    spelling,
)
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.targets.target_cells import RawTargets
from pipeline.data.targets.target_columns import TargetColumns
from pipeline.data.tasks import Task
from pipeline.errors import BadModel, BadOption, BadRows
from pipeline.system.progress import note
from pipeline.teacher.label_order import in_teachers_order, with_label_map


@dataclass(frozen=True)
class TargetClasses:
    """A task with its classes in the order of the numbers. `names` are those of the numbers of each class."""

    task: Task
    names: tuple[tuple[str, ...], ...] = ()  # of each class, which rows may spell differently; none: as in the task

    def columns(self, raw: RawSplit, targets: RawTargets) -> list[list[int]]:
        """Return the columns of the values for each class.

        Raises `BadRows` for lists of another length, and for names without a class of the task.
        """
        count = self.task.num_logits
        if not self.task.kind.has_classes and count == 1:
            return [[0]]
        faults = raw.faults()
        for row in (targets.lengths != count).nonzero()[0]:
            if (length := int(targets.lengths[row])) >= (1 if targets.names else 0):
                fact = f"the list of targets has {length} numbers, and the task has {count} classes"
                advice = f"Give a number for each of {listed(self.task.labels)}, in this order"
                faults.add("length", *raw.place(int(row)), fact, advice)
        faults.check()
        if not targets.names:
            return [[place] for place in range(count)]
        of_classes = self.names or tuple((label,) for label in self.task.labels)
        pairs = {name: label for label, names in zip(self.task.labels, of_classes, strict=True) for name in names}
        self._check_names(raw, targets, pairs)
        places = {name: place for place, name in enumerate(targets.names)}
        return [[places[name] for name in names if name in places] for names in of_classes]

    def _check_names(self, raw: RawSplit, targets: RawTargets, pairs: Mapping[str, str]) -> None:
        """Raise `BadRows` for names that are not among `pairs`, {name of a number: class}."""
        faults, labels = raw.faults(), self.task.labels
        for place, name in enumerate(targets.names):
            if name in pairs:
                continue
            fact = f"the target names the class {quoted(name)}, and {self.task.name} has {listed(labels)}"
            free = [label for label in labels if label not in pairs.values()] or list(labels)
            meanings = {**pairs, name: free[0]}
            is_short = len(meanings) <= MOST_RENAMES and len(name) <= LONGEST
            example = f", for example: --label-map {json_word(meanings)}" if is_short else " with --label-map"
            advice = f"Fix this row, or say what the names of the targets mean{example}"
            for row in (targets.values[:, place] == targets.values[:, place]).nonzero()[0]:
                faults.add(f"class {name}", *raw.place(int(row)), fact, advice)
        faults.check()


def known_classes(columns: TargetColumns, raw: Mapping[str, RawSplit], label_map: str | None) -> tuple[str, ...]:
    """Return the classes that the options or the targets name, in order; none if they do not name any."""
    if columns.classes:
        return columns.classes
    if label_map and not label_map.lstrip().startswith("{"):
        names = parse_json_names("--label-map", label_map) if label_map.lstrip()[:1] == "[" else label_map.split(",")
        return tuple(map(str, names))
    return tuple(sorted(_names(raw)))


def target_classes(
    task: Task, columns: TargetColumns, raw: Mapping[str, RawSplit], label_map: str | None, teacher: str
) -> TargetClasses:
    """Return the class of each number in the targets of all splits.

    Names match as those of a model's outputs do. Raises `BadOption`, `BadModel` or `BadRows` where they do not.
    """
    if not task.kind.has_classes and label_map:
        raise BadOption(f"--label-map names classes, and {task.name} does not have any: leave it out")
    if columns.classes and label_map:
        raise BadOption("--label-map and A=CLASS of --target-columns name the same classes. Leave one of them out")
    names = list(_names(raw))
    if not names:  # lists, or scores
        return TargetClasses(with_label_map(task, label_map, task.labels) if label_map else task)
    if len(columns.columns) > 1 and len(names) != task.num_logits:
        raise BadOption(
            f"--target-columns names {len(names)} columns, and {task.name} has {task.num_logits} classes: "
            f"{listed(task.labels)}. Name a column for each class"
        )
    if columns.classes:
        return _from_pairs(task, dict(zip(columns.columns, columns.classes, strict=True)))
    if label_map and label_map.lstrip().startswith("{"):
        return _from_pairs(task, {key: str(name) for key, name in _json_object(label_map).items()})
    pairs = _matched(task, names)
    if len(pairs) == len(names) and not label_map:
        return _from_pairs(task, pairs)
    if len(names) != task.num_logits:
        if label_map:
            raise BadOption(
                f"--label-map gives {task.num_logits} classes to {len(names)} names of the targets: {listed(names)}. "
                f"Give it as an object, for example {json_word(dict.fromkeys(names[:1], task.labels[0]))}"
            )
        return _from_pairs(task, pairs)  # rows of a class that the task does not have are named when they are read
    if len(columns.columns) > 1:
        if label_map is None and (stripped := _without_prefix(task, names)) is not None:
            return _from_pairs(task, stripped)
        ordered = with_label_map(task, label_map, names) if label_map else task
        if label_map is None:
            meanings = ", ".join(f"{name} is {label}" for name, label in zip(names, task.labels, strict=True))
            note(f"--target-columns: {meanings} (otherwise, give A=CLASS,B=CLASS,…)")
        return TargetClasses(ordered, tuple((name,) for name in names))
    outputs = [name for label in task.labels for name in names if pairs.get(name) == label]
    outputs = outputs if len(outputs) == len(names) else sorted(names)
    if label_map:
        return TargetClasses(with_label_map(task, label_map, outputs), tuple((name,) for name in outputs))
    try:
        return TargetClasses(in_teachers_order(task, teacher, outputs, None), tuple((name,) for name in outputs))
    except BadModel:
        return _from_pairs(task, pairs)


def _names(raw: Mapping[str, RawSplit]) -> dict[str, None]:
    """Return the names of the numbers in all splits, in the order in which they come."""
    return {name: None for part in raw.values() if part.targets is not None for name in part.targets.names}


def _json_object(label_map: str) -> dict[str, str | None]:
    names = parse_json_names("--label-map", label_map)
    assert isinstance(names, dict)
    return names


def _matched(task: Task, names: Sequence[str]) -> dict[str, str]:
    """Return the classes of the names that are the name of a class, or are spelled as exactly one."""
    by_spelling: dict[str, list[str]] = {}
    for label in task.labels:
        by_spelling.setdefault(spelling(label), []).append(label)
    similar = {name: by_spelling.get(spelling(name), []) for name in names}
    return {
        name: name if name in task.labels else similar[name][0]
        for name in names
        if name in task.labels or len(similar[name]) == 1
    }


def _without_prefix(task: Task, names: Sequence[str]) -> dict[str, str] | None:
    """Return the classes of columns called PREFIX and the name of a class: p_neg, p_pos."""
    for label in task.labels:
        prefix = names[0].removesuffix(label)
        pairs = {f"{prefix}{name}": name for name in task.labels}
        if prefix != names[0] and set(pairs) == set(names):
            return pairs
    return None


def _from_pairs(task: Task, pairs: Mapping[str, str]) -> TargetClasses:
    """Return the classes of {name of a number: class}. Raises `BadRows` for names without a class of the task."""
    if unknown := [name for name in pairs.values() if name not in task.labels]:
        raise BadRows(
            f"the targets have the class {quoted(unknown[0])}, and {task.name} has {listed(task.labels)}. Name "
            "these in --target-columns or --label-map"
        )
    names = (tuple(name for name, meant in pairs.items() if meant == label) for label in task.labels)
    return TargetClasses(task, tuple(names))
