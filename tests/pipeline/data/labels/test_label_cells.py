"""Label columns of several labels per row: lists, texts with a separator, null, and lists that became text."""

import json
from pathlib import Path

import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.rows import TaskRows
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadRows

LISTS = [["a", "b"], ["a"], ["b"], []] * 3
KEEP = "if they are classes as they are, add --yes"
CSV = ["a|b", "a", "b", ""] * 3


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(train, dev=None, test=None, suffix="jsonl", **options) -> TaskRows:
    files = {}
    for split, labels in {"train": train, "dev": dev, "test": test}.items():
        if labels is not None:
            lines = [json.dumps({"text": f"{split} {row}", "label": label}) for row, label in enumerate(labels)]
            if suffix == "csv":
                lines = ["text,label", *(f'{split} {row},"{label}"' for row, label in enumerate(labels))]
            Path(f"{split}.{suffix}").write_text("\n".join([*lines, ""]))
            files[f"{split}_file"] = f"{split}.{suffix}"
    return load_rows(RowsConfig(task="mine", text_columns="text", label_column="label", **files, **options))


def refusal(*labels, **options) -> str:
    with pytest.raises(BadRows) as error:
        rows(*labels, **options)
    message = str(error.value)
    assert message.isprintable() and len(message) < 700
    return message


def test_an_empty_list_is_a_label_and_null_is_none():
    splits = rows(LISTS, LISTS, [[], []]).splits
    assert splits["test"].labelled and splits["test"].labels.tolist() == [[0, 0], [0, 0]]
    for missing in ([None, None], ["", ""], ["-", "-"], [-1, -1]):
        splits = rows(LISTS, LISTS, missing).splits
        assert not splits["test"].labelled and (splits["test"].labels == -1).all()
    assert not rows(CSV, test=["", ""], suffix="csv", label_separator="|").splits["test"].labelled
    assert rows(CSV, suffix="csv", label_separator="|").splits["train"].labels[3].tolist() == [0, 0]


def test_null_beside_labels_is_counted_and_can_be_left_out():
    partly = [["a"], None, [], None]
    for labels, split in (((LISTS, partly), "dev"), ((LISTS, LISTS, partly), "test")):
        assert refusal(*labels) == (
            f"{split}.jsonl line 2: no label (null); 2 rows are like this (lines 2, 4). A dev or test split has labels "
            "in all of its rows, or (a test split) in none. Write [] for none of the classes. Fill it in, or leave all "
            "rows without a label out, of train too: --rename-labels '{\"\": null}'"
        )
        kept = rows(*labels, rename_labels='{"": null}').splits[split]
        assert len(kept) == len(labels[-1]) - 2 and kept.labels[-1].tolist() == [0, 0]
    assert "Write [] for none of the classes" in refusal(LISTS, [None, None])
    text = ["a|b", None, "a", ""]
    assert "Write an empty text for none of the classes" in refusal(["a|b"], text, label_separator="|")
    assert len(rows(text, label_separator="|", rename_labels='{"": null}').splits["train"]) == 3


def test_names_of_classes_are_questions_as_in_other_tasks():
    assert refusal([["US", "x"], ["us"], ["x"], ["US"]]) == (
        "train.jsonl: the label 'us' (line 2) differs from 'US' (2 rows: lines 1, 4) only in case, white space or the "
        f'spelling of a number. Add --rename-labels \'{{"us": "US"}}\'; {KEEP}'
    )
    assert rows([["US", "x"], ["us"], ["x"]], yes=True).task.labels == ("US", "us", "x")
    assert refusal([["a", "b\x1b[31m"], ["a"]]).startswith(
        "train.jsonl line 1: the label 'b\\x1b[31m' has control characters. Fix this row, or add --rename-labels"
    )
    assert refusal([[], []]) == "train.jsonl: column 'label' has no label in any row; training needs two or more"
    assert refusal([["a"], []]) == "train.jsonl: column 'label' has only one label; training needs two or more"


@pytest.mark.parametrize("text", ["['a', 'b']", "['a' 'b']", "[]", "{'a'}", "('a', 'b')", "[1 2]"])
@pytest.mark.parametrize("options", [{}, {"label_separator": ","}])
def test_lists_that_became_text_are_a_question(text, options):
    message = refusal(["a", text, "b", "a,b"] * 2, suffix="csv", **options)
    assert message.startswith(f"train.csv: the label {text!r} (lines 3, 7) is a list that became text. Write a|b with ")
    assert message.endswith(KEEP)
    assert rows(["a", text, "b", "a,b"] * 2, suffix="csv", yes=True, **options).splits["train"].labelled


def test_names_in_brackets_are_names():
    assert rows(["[UNK]", "(other)"] * 3).task.labels == ("(other)", "[UNK]")


def test_a_separator_that_no_label_contains_is_refused():
    assert refusal(["a;b", "a", "b;a", "b"], suffix="csv", label_separator="|") == (
        "train.csv: no label in label contains the separator '|'; the first is 'a;b' (line 2). Give another "
        "--label-separator, or leave it out; if every row has one label, add --yes"
    )
    assert rows(["a", "b"], label_separator="|", yes=True).task.labels == ("a", "b")


def test_lists_beside_training_rows_of_one_label_are_refused():
    assert refusal(["a", "b"] * 3, [["a"], "b"]) == (
        "dev.jsonl line 1: a list of labels, and the training rows have one label each. Write one label, or lists in "
        "the training rows, too, or name another --label-column"
    )
    assert refusal([1.5, 2, 3], [[1], [2]], regression=True) == (
        "dev.jsonl line 1: a list of labels, and the training rows have one score each; 2 rows are like this (lines 1, "
        "2). Write one score, or name another --label-column"
    )


def test_decimals_are_scores_in_whichever_split_they_are():
    advice = "If the labels are scores, add --regression; if they are classes, fix this row"
    assert (
        refusal(["1", "2", "3"] * 3, ["2.5", "1"]) == f"dev.jsonl line 1: the label '2.5' is none of 1, 2, 3. {advice}"
    )
    assert refusal(["1", "2", "3"] * 3, None, [2.5, 1]).endswith(f"is none of 1, 2, 3. {advice}")
    assert "add --regression" in refusal([1, 2.5, 3, 1])


@pytest.mark.parametrize(
    ("labels", "options", "part"),
    [
        ([i / 7 for i in range(20)], {"regression": True}, ""),
        ([1, 2, 3, 4] * 5, {"regression": True}, ", the same part of each score"),
        (LISTS, {}, ", the same part of each set of labels"),
        (["a", "b"] * 8, {}, ", the same part of each class"),
    ],
)
def test_rows_taken_for_dev_are_described_as_what_they_are(labels, options, part, capsys):
    rows(labels, dev_fraction=0.25, **options)
    assert f"training rows{part} (--dev-fraction 0.25)" in capsys.readouterr().err
