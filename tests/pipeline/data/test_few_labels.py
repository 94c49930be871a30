"""`--labels-per-class`: labels of a few rows of each class, the same for one seed, those of fewer among the more."""

import numpy as np
import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.sources import load_rows
from pipeline.errors import BadOption, BadRows

OPTIONS = {"task": "mine", "train_file": "train.csv", "text_columns": "text", "label_column": "label"}


@pytest.fixture(autouse=True)
def _rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"row {number},{'abc'[number % 3]}" for number in range(30)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines, "last,a"]) + "\n")


def labels(**options) -> np.ndarray:
    return load_rows(RowsConfig(**OPTIONS, **options)).splits["train"].labels


def test_labels_of_some_rows_of_each_class_are_kept_and_no_row_is_lost():
    every, few = labels(), labels(labels_per_class=4)
    kept = few >= 0
    assert len(few) == 31 and np.bincount(few[kept]).tolist() == [4, 4, 4] and (few[kept] == every[kept]).all()


def test_fewer_labels_of_a_seed_are_among_the_more_and_other_seeds_choose_others():
    few, more, others = labels(labels_per_class=2), labels(labels_per_class=6), labels(labels_per_class=2, label_seed=1)
    assert set(np.flatnonzero(few >= 0)) < set(np.flatnonzero(more >= 0))
    assert (few == labels(labels_per_class=2)).all() and (few != others).any()


def test_more_labels_than_a_class_has_are_refused():
    with pytest.raises(BadRows, match=r"only 10 training rows have the label b\. Use --labels-per-class 10 or less"):
        labels(labels_per_class=11)


def test_scores_do_not_have_classes(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na film,1.5\nno film,0.25\n")
    with pytest.raises(BadOption, match="this task is regression: leave it out"):
        labels(labels_per_class=1, regression=True)
