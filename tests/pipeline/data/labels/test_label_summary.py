"""The lines about own rows before a training."""

from types import SimpleNamespace

import numpy as np

from pipeline.data.labels.label_summary import summary
from pipeline.data.rows.rows import SplitRows, TaskRows
from pipeline.data.task_kinds import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from pipeline.data.tasks import Task


def lines(kind, classes, **labels) -> list[str]:
    splits = {
        name: SplitRows((["a"] * len(values),), np.array(values), labelled=name != "test")
        for name, values in labels.items()
    }
    task = Task("mine", ("text",), classes, ("accuracy",), kind)
    tokenised = {"train": SimpleNamespace(lengths=np.array([5, 128, 128, 7]))}
    return list(summary(TaskRows(task, splits, "files"), tokenised, 128))


def test_classes_are_counted_and_cut_texts_named():
    assert lines(SINGLE_LABEL, ("neg", "pos\x1b[2J"), train=[0, 1, 1, 1], dev=[1, 1], test=[-1, -1]) == [
        "train: 4 rows, 2 classes: neg 1, pos[2J 3; --max-length 128 cuts 2 of them (50.0%)",
        "dev: 2 rows, 2 classes: neg 0, pos[2J 2",
        "test: 2 rows, without labels",
    ]


def test_of_many_classes_the_frequent_ones_and_the_rarest_are_named():
    line = lines(SINGLE_LABEL, tuple(f"c{i}" for i in range(20)), dev=[*range(20), 19, 19])[0]
    assert line.startswith("dev: 22 rows, 20 classes: c19 3, c0 1, c1 1") and line.endswith("c10 1, … down to c18 1")


def test_scores_have_a_range_and_rows_of_no_label_a_count():
    assert lines(REGRESSION, (), dev=[0.5, 2.0]) == ["dev: 2 rows, scores from 0.5 to 2, mean 1.25"]
    assert lines(MULTI_LABEL, ("a", "b"), dev=[[1, 1], [0, 0], [0, 1]]) == [
        "dev: 3 rows, 2 classes: a 1, b 2; 1 rows without a label"
    ]
