"""`--labels-per-class`: a few labelled rows of each class, the same for one seed; the others as transfer split."""

import numpy as np
import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadOption, BadRows

OPTIONS = {"task": "mine", "train_file": "train.csv", "text_columns": "text", "label_column": "label"}


@pytest.fixture(autouse=True)
def _rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"row {number},{'abc'[number % 3]}" for number in range(30)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines, "last,a"]) + "\n")


def texts(split: str = "train", **options) -> list[str]:
    return load_rows(RowsConfig(**OPTIONS, **options)).splits[split].texts[0]


def test_other_rows_lose_their_labels_and_become_the_transfer_split():
    rows = load_rows(RowsConfig(**OPTIONS, labels_per_class=4))
    train, transfer = rows.splits["train"], rows.splits["transfer"]
    assert list(rows.splits) == ["train", "transfer"] and np.bincount(train.labels).tolist() == [4, 4, 4]
    assert not transfer.labelled and (transfer.labels == -1).all()
    assert sorted(train.texts[0] + transfer.texts[0]) == sorted(texts()) and len(train) + len(transfer) == 31


def test_rows_for_fewer_labels_of_a_seed_are_among_those_for_more():
    few, more = texts(labels_per_class=2), texts(labels_per_class=6)
    assert set(few) < set(more) and few == texts(labels_per_class=2) != texts(labels_per_class=2, label_seed=1)


def test_more_labels_than_a_class_has_are_refused():
    with pytest.raises(BadRows, match=r"only 10 training rows have the label b\. Use --labels-per-class 10 or less"):
        texts(labels_per_class=11)


def test_scores_do_not_have_classes(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na film,1.5\nno film,0.25\n")
    with pytest.raises(BadOption, match="this task is regression: leave it out"):
        texts(labels_per_class=1, regression=True)
