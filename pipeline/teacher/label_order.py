"""Which class each output of a teacher means: by the names of its classes, --label-map, or its predictions."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.data.labels.label_names import SHOWN, json_word, listed, names_word, parse_json_names, spelling
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import TASKS, Task
from pipeline.errors import BadModel, BadOption, one_line
from pipeline.system.progress import note

# Of accuracy, or of the metric that judges several labels: from here on another order of the labels is named.
MAP_GAIN = 0.10
_NUMBER = re.compile(r"[^0-9]*([0-9]+)[^0-9]*")  # LABEL_1, "1 star"
# Names of one meaning, the least first
_SCALES = (
    (("negative", "positive"), ("neg", "pos"), ("0", "1"), ("-1", "1")),
    (("negative", "neutral", "positive"), ("neg", "neu", "pos"), ("-1", "0", "1")),
    (("no", "yes"), ("n", "y"), ("0", "1")),
)


def with_label_map(task: Task, option: str, outputs: Sequence[str]) -> Task:
    """Return the task with its classes in the order of --label-map; `outputs` are the teacher's names of them.

    The option is A,B,…, a JSON list, or a JSON object {teacher's name: task's name}. Raises `BadOption`.
    """
    names: list[str | None] = list(option.split(","))
    if sorted(names, key=str) != sorted(task.labels) and option.lstrip()[:1] in ("{", "["):
        given = parse_json_names("--label-map", option)
        names = _values(task, given, outputs) if isinstance(given, dict) else given
    if sorted(names, key=str) != sorted(task.labels):
        raise BadOption(f"--label-map must name each of {names_word(task.labels)} once, not {one_line(option)}")
    return task.with_labels(tuple(map(str, names)))


def _values(task: Task, given: dict[str, str | None], outputs: Sequence[str]) -> list[str | None]:
    """Return the values of the keys that name the outputs, in their order."""
    for key in (str, spelling):
        values = {key(name): value for name, value in given.items()}
        if len(values) == len(given) and set(values) == set(map(key, outputs)):
            return [values[key(name)] for name in outputs]
    example = json_word(dict(zip(outputs, task.labels, strict=True)))
    raise BadOption(
        f"--label-map must have each of the teacher's names {listed(outputs, 100)} as a key. For example: {example}"
    )


def in_teachers_order(task: Task, name: str, outputs: Sequence[str], published: Sequence[str] | None) -> Task:
    """Return the task with its classes in the order of the teacher's outputs; LABEL_0, LABEL_1, … keep their order.

    Names are matched as they are, then by their spelling, by number, and by meaning: NEGATIVE is 0 where there are 0
    and 1. Raises `BadModel` with the option to add where a name does not have a certain meaning.
    """
    if is_generic(outputs):
        outputs = published or task.labels
    if tuple(outputs) == task.labels:
        return task
    for key in (str, spelling, _letters):
        if (order := _matched(key, outputs, task.labels)) is not None:
            return task.with_labels(order)
    order = _by_number(task, outputs) or _by_meaning(outputs, task.labels)
    if order is None:
        is_unique = len(set(outputs)) == len(outputs)
        pairs = dict(zip(outputs, task.labels, strict=True))
        proposed = json_word(pairs) if is_unique else names_word(task.labels)
        raise BadModel(
            f"{name} predicts {listed(outputs)}, but the task {task.name} has {listed(task.labels)}. Name another "
            "--teacher, fine-tune one with finetune-teacher, or say which of them are the same, in this order for "
            f"example: --label-map {proposed}"
        )
    meanings = ", ".join(
        f"{one_line(output, SHOWN)} is {one_line(label, SHOWN)}" for output, label in zip(outputs, order, strict=True)
    )
    note(f"{name}: {meanings} (otherwise, give --label-map)")
    return task.with_labels(order)


def is_generic(outputs: Sequence[str]) -> bool:
    """Return whether the names are those that transformers makes up: LABEL_0, LABEL_1, …, or the same from 1."""
    return any(list(outputs) == [f"LABEL_{first + index}" for index in range(len(outputs))] for first in (0, 1))


def _letters(name: str) -> str:
    """Return the spelling of a name without what separates its words; the spelling itself where nothing is left."""
    return "".join(filter(str.isalnum, spelling(name))) or spelling(name)


def _matched(key: Callable[[str], str], outputs: Sequence[str], labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels of the outputs by what names have in common; None unless it tells all of them apart."""
    known = {key(label): label for label in labels}
    keys = [key(output) for output in outputs]
    tells_apart = len(set(keys)) == len(keys) == len(known) and set(keys) == set(known)
    return tuple(known[k] for k in keys) if tells_apart else None


def _by_number(task: Task, outputs: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels by the number in each name: a label of this number, or the class of a GLUE task."""
    matches = [_NUMBER.fullmatch(spelling(output)) for output in outputs]
    numbers = [str(int(match[1])) if match else "" for match in matches]
    labels = {spelling(label): label for label in task.labels}
    if task.name in TASKS or all(output.startswith("LABEL_") for output in outputs):
        classes = {str(index): label for index, label in enumerate(task.labels)}
        labels = labels if set(numbers) == set(labels) else classes
    tells_apart = len(set(numbers)) == len(numbers) and set(numbers) == set(labels)
    return tuple(labels[number] for number in numbers) if tells_apart else None


def _by_meaning(outputs: Sequence[str], labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels by words for the same: negative, neg and 0; no and 0."""
    spelled = {spelling(label): label for label in labels}
    names = [spelling(output) for output in outputs]
    for scale in _SCALES:
        ours = next((words for words in scale if set(words) == set(spelled)), None)
        theirs = next((words for words in scale if sorted(words) == sorted(names)), None)
        if ours and theirs:
            return tuple(spelled[ours[theirs.index(name)]] for name in names)
    return None


def better_order_of_several(
    metrics: TaskMetrics, logits: np.ndarray, labels: np.ndarray
) -> tuple[tuple[str, ...], float] | None:
    """Return the order of class names by which each class goes with its own logit best, and the score with it.

    For labels [n, C] of several classes: the order has the largest sum of correlations between logits and labels. None
    unless it scores 10 points more than the present order, by the metric that judges, and is of use with it.
    """
    from scipy.optimize import linear_sum_assignment

    deviations = [values - values.mean(0) for values in (logits.astype(np.float64), labels.astype(np.float64))]
    scaled = [values / np.maximum(np.linalg.norm(values, axis=0), 1e-12) for values in deviations]
    meant = linear_sum_assignment(scaled[0].T @ scaled[1], maximize=True)[1]  # of each output, the label
    mapped = logits[:, np.argsort(meant)]
    score = metrics.score(mapped, labels)
    if score - metrics.score(logits, labels) < MAP_GAIN or metrics.weakness(mapped, labels):
        return None
    return tuple(metrics.classes[label] for label in meant), score


def better_order(names: Sequence[str], logits: np.ndarray, labels: np.ndarray) -> tuple[tuple[str, ...], float] | None:
    """Return the order of the class names that fits the logits [n, C] best, and the accuracy with it.

    None unless it beats the present order by 10 points, and by more than chance: it beats the most frequent label by as
    much, or the rows that it makes right outnumber those that it makes wrong by two standard errors.
    """
    from scipy.optimize import linear_sum_assignment

    predictions, count = logits.argmax(1), len(labels)
    confusion = np.zeros((len(names), len(names)), np.int64)  # output, label
    np.add.at(confusion, (predictions, labels), 1)
    outputs, meant = linear_sum_assignment(confusion, maximize=True)
    mapped = meant[np.argsort(outputs)]
    right, right_if_mapped = predictions == labels, mapped[predictions] == labels
    gain = int(right_if_mapped.sum()) - int(right.sum())
    changed = int((right != right_if_mapped).sum())
    beats_majority = right_if_mapped.sum() - np.bincount(labels).max() >= MAP_GAIN * count
    if gain < MAP_GAIN * count or not (beats_majority or gain**2 >= 4 * changed):
        return None
    return tuple(names[label] for label in mapped), float(right_if_mapped.mean())
