"""Which class an output of a teacher means."""

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.task_kinds import MULTI_LABEL
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import TASKS
from pipeline.errors import BadModel, BadOption
from pipeline.teacher.label_order import better_order, better_order_of_several, in_teachers_order, with_label_map


def task(*labels: str):
    return replace(TASKS["sst2"], name="mine", labels=labels)


@pytest.mark.parametrize(
    ("outputs", "labels", "order"),
    [
        (["neg", "pos"], ["neg", "pos"], ["neg", "pos"]),
        (["pos", "neg"], ["neg", "pos"], ["pos", "neg"]),
        (["POS", "Neg "], ["neg", "pos"], ["pos", "neg"]),
        (["us", "US"], ["US", "us"], ["us", "US"]),
        (["Not-Entailment", "entailment"], ["entailment", "not_entailment"], ["not_entailment", "entailment"]),
        (["LABEL_0", "LABEL_1"], ["neg", "pos"], ["neg", "pos"]),
        (["LABEL_1", "LABEL_2"], ["neg", "pos"], ["neg", "pos"]),
        (["LABEL_1", "LABEL_0"], ["neg", "pos"], ["pos", "neg"]),
        (["LABEL_1", "LABEL_0", "LABEL_2"], ["0", "1", "2"], ["1", "0", "2"]),
        (["2 stars", "1 star"], ["1", "2"], ["2", "1"]),
        (["NEGATIVE", "POSITIVE"], ["0", "1"], ["0", "1"]),
        (["POSITIVE", "NEGATIVE"], ["0", "1"], ["1", "0"]),
        (["positive", "neutral", "negative"], ["-1", "0", "1"], ["1", "0", "-1"]),
        (["negative", "positive"], ["-1", "1"], ["-1", "1"]),
        (["POSITIVE", "NEGATIVE"], ["neg", "pos"], ["pos", "neg"]),
        (["yes", "no"], ["False", "True"], ["True", "False"]),
        (["True", "False"], ["0", "1"], ["1", "0"]),
    ],
)
def test_names_of_a_certain_meaning_are_taken(outputs, labels, order):
    assert in_teachers_order(task(*labels), "teacher", outputs, None).labels == tuple(order)


def test_numbers_are_the_classes_of_a_glue_task():
    assert in_teachers_order(TASKS["sst2"], "teacher", ["1", "0"], None).labels == ("positive", "negative")


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (["good", "bad"], ["0", "1"]),
        (["negative", "neutral", "positive"], ["0", "1", "2"]),
        (["a, b", "it's"], ['say "no"', "Credit reporting, repair, or other"]),
        (["$HOME", "`ls`"], ["x y", "\\"]),
        (["same", "same"], ["neg", "pos"]),
        (["0", "1"], ["ham", "spam"]),
        (["a", "A"], ["neg", "pos"]),
        (["+", "-"], ["++", "--"]),
    ],
)
def test_other_names_are_refused_with_a_line_that_works(outputs, labels):
    with pytest.raises(BadModel) as error:
        in_teachers_order(task(*labels), "teacher", outputs, None)
    words = shlex.split(re.search(r"--label-map .*$", str(error.value))[0])
    assert len(words) == 2
    assert with_label_map(task(*labels), words[1], outputs).labels == tuple(labels)


@pytest.mark.parametrize(
    ("option", "order"),
    [
        ("1,0", ("1", "0")),
        ('["1", "0"]', ("1", "0")),
        ("[1, 0]", ("1", "0")),
        ('{"no": 1, "yes": 0}', ("1", "0")),
        ('{"YES": "0", "No": "1"}', ("1", "0")),
    ],
)
def test_a_label_map_is_a_list_or_json(option, order):
    assert with_label_map(task("0", "1"), option, ["no", "yes"]).labels == order


def test_a_comma_list_may_look_like_json():
    assert with_label_map(task("[a", "{b"), "{b,[a", ["x", "y"]).labels == ("{b", "[a")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("0", "--label-map must name each of 0,1 once, not 0"),
        ('{"no": 0, "yes": 0}', "--label-map must name each of 0,1 once, not "),
        ('{"no": 0}', '--label-map must have each of the teacher\'s names no, yes as a key. For example: \'{"no": "0"'),
        ("{no: 0}", "--label-map '{no: 0}' is not JSON (Expecting property name"),
    ],
)
def test_other_label_maps_are_refused(option, reason):
    with pytest.raises(BadOption) as error:
        with_label_map(task("0", "1"), option, ["no", "yes"])
    assert str(error.value).startswith(reason)


def test_a_better_order_of_several_labels_is_found_by_their_own_logits():
    random = np.random.default_rng(0)
    labels = (random.random((200, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.int8)
    outputs = np.where(labels[:, [2, 0, 3, 1]] > 0, 1.0, -1.0) + 0.3 * random.standard_normal((200, 4))
    metrics = TaskMetrics(MULTI_LABEL, ("micro_f1", "macro_f1"), tuple("abcd"))
    names, score = better_order_of_several(metrics, outputs, labels)
    assert names == tuple("cadb") and score > 0.95
    assert better_order_of_several(metrics, outputs[:, [1, 3, 0, 2]], labels) is None  # in order
    assert better_order_of_several(metrics, random.standard_normal((200, 4)), labels) is None


def logits(*classes: int) -> np.ndarray:
    return np.eye(4)[list(classes)]


def test_a_better_order_is_found_above_the_majority_too():
    labels = np.array([0, 1, 2, 3] * 10)
    assert better_order("abcd", logits(*[0, 1, 3, 2] * 10), labels) == (("a", "b", "d", "c"), 1.0)
    assert better_order("abcd", logits(*labels), labels) is None


def test_an_order_that_is_better_by_chance_is_not_named():
    labels = np.array([0] * 26 + [1] * 4)
    assert better_order("ab", np.eye(2)[[0] * 13 + [1] * 13 + [0] * 4], labels) is None  # 0.43 and 0.57
