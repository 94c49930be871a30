"""Training rows without a label, of every kind of task."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadRows

OWN = {"task": "mine", "train_file": "train.jsonl", "text_columns": "text", "label_column": "label"}


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(labels, dev=None, teachers=None, more=None, **options):
    for name, values in {"train": labels, "dev": dev}.items():
        if values is not None:
            rows = [{"text": f"{name} {row}", "label": value, **(more or {})} for row, value in enumerate(values)]
            Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = {"dev_file": "dev.jsonl"} if dev else {}
    return load_rows(RowsConfig(**OWN | given | options), teachers=teachers)


def test_empty_null_and_marked_labels_are_missing(capsys):
    rows = load(["b", "", None, "-1", "a", " "], unlabelled_label="-1")
    assert rows.task.labels == ("a", "b")
    assert rows.splits["train"].labels.tolist() == [1, -1, -1, -1, 0, -1] and rows.splits["train"].labelled
    assert capsys.readouterr().err == (
        "4 of 6 training rows do not have a label: students learn only the teacher's targets from them\n"
    )
    assert rows.labelled().splits["train"].texts == (["train 0", "train 4"],)
    assert load(["b", "-1", "a"]).task.labels == ("-1", "a", "b")  # a class without the option


def test_a_marker_that_no_row_has_is_named(capsys):
    assert load(["b", "a", ""], unlabelled_label="none").splits["train"].labels.tolist() == [1, 0, -1]
    assert capsys.readouterr().err.splitlines()[0] == "no row has the label none of --unlabelled-label"


def test_null_is_missing_in_a_multi_label_task_and_an_empty_list_is_not():
    rows = load([["a"], None, [], ["-1"], ["a", "b"]], unlabelled_label="-1")
    assert rows.splits["train"].labels.tolist() == [[1, 0], [-1, -1], [0, 0], [-1, -1], [1, 1]]
    text = load(["a|b", "", "-1", None], label_separator="|", unlabelled_label="-1")
    assert text.splits["train"].labels.tolist() == [[1, 1], [0, 0], [-1, -1], [-1, -1]]


def test_a_missing_score_is_not_a_number_and_does_not_change_the_scale():
    rows = load([1.0, None, 3.0, ""], regression=True)
    np.testing.assert_array_equal(rows.splits["train"].labels, [1.0, np.nan, 3.0, np.nan])
    assert rows.task.kind.label_mean == 2.0 and rows.labelled().splits["train"].labels.tolist() == [1.0, 3.0]


def test_questions_without_an_answer_are_missing():
    rows = load(["A", None, "C", ""], choices_columns="options", more={"options": ["x", "y", "z"]})
    train = rows.splits["train"]
    assert train.labels.tolist() == [0, -1, 2, -1]
    kept = rows.labelled().splits["train"]
    assert len(kept) == 2 and kept.inputs(1, 2)[0] == ["train 2"] * 3 and kept.source.place(1) == ("train.jsonl", 3)


def test_dev_rows_have_labels_and_are_taken_from_rows_that_have_one():
    with pytest.raises(BadRows) as error:
        load(["a", "b"], ["a", "-1"], unlabelled_label="-1")
    assert str(error.value).startswith("dev.jsonl line 2: no label. A dev or test split has labels in all of its rows")
    rows = load([*"abab", *[None] * 40], dev_fraction=0.5)
    assert sorted(rows.splits["dev"].labels.tolist()) == [0, 1] and len(rows.splits["train"]) == 42


def test_rows_without_any_label_need_the_classes_of_a_teacher():
    with pytest.raises(BadRows, match="column 'label' has no label in any row; training needs two or more"):
        load([None, ""])
    rows = load([None, ""], dev=["no", "yes"], teachers=lambda: ("yes", "no"))
    assert rows.task.labels == ("yes", "no") and rows.splits["dev"].labels.tolist() == [1, 0]
    assert rows.splits["train"].labels.tolist() == [-1, -1] and not rows.splits["train"].labelled
    with pytest.raises(BadRows, match="no training row has a label to train on"):
        rows.labelled()
    assert not load([None, ""], regression=True, teachers=lambda: ()).splits["train"].labelled


def test_marked_labels_are_left_out_as_the_message_about_a_dev_split_says():
    with pytest.raises(BadRows) as error:
        load(["a", "b", "-1"], ["a", "-1"], unlabelled_label="-1")
    assert str(error.value).endswith("leave all rows without a label out, of train too: --rename-labels '{\"\": null}'")
    rows = load(["a", "b", "-1"], ["a", "-1"], unlabelled_label="-1", rename_labels='{"": null}')
    assert [split.labels.tolist() for split in rows.splits.values()] == [[0, 1], [0]]
