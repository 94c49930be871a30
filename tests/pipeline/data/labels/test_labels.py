"""The labels of own rows: what is asked, what is refused, and what answers it."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.labels.label_names import parse_renames
from pipeline.data.rows.rows import TaskRows
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadOption, BadRows

TWO = ["pos", "neg"] * 5
KEEP = "if they are classes as they are, add --yes"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(train, dev=None, test=None, **options) -> TaskRows:
    files = {}
    for split, labels in {"train": train, "dev": dev, "test": test}.items():
        if labels is not None:
            path = Path(f"{split}.csv")
            path.write_text("text,label\n" + "".join(f"{split} {row},{label}\n" for row, label in enumerate(labels)))
            files[f"{split}_file"] = str(path)
    return load_rows(RowsConfig(task="mine", text_columns="text", label_column="label", **files, **options))


def refusal(*labels, kind=BadRows, **options) -> str:
    with pytest.raises(kind) as error:
        rows(*labels, **options)
    message = str(error.value)
    assert message.isprintable() and len(message) < 700
    return message


@pytest.mark.parametrize(
    ("train", "fact", "answer"),
    [
        (
            [*TWO, "pos "],
            "the label 'pos ' (line 12) differs from 'pos' (5 rows: lines 2, 4, 6, …) only in case",
            '{"pos ": "pos"}',
        ),
        ([*TWO, "POS", "POS"], "the label 'POS' (2 rows: lines 12, 13) differs from 'pos'", '{"POS": "pos"}'),
        (
            ["US", "us", "de"] * 3,
            "the label 'us' (3 rows: lines 3, 6, 9) differs from 'US' (3 rows: lines 2, 5, 8)",
            '{"us": "US"}',
        ),
        (["1", "0", "1.0"] * 2, "the label '1.0' (2 rows: lines 4, 7) differs from '1'", '{"1.0": "1"}'),
        ([*TWO, "label"], "the label 'label' (line 12) is the name of its column", '{"label": null}'),
        ([*TWO, "-"], "the label '-' (line 12) is how files write a missing label", '{"-": null}'),
        ([*TWO, "n/a"], "the label 'n/a' (line 12) is how files write a missing label", '{"n/a": null}'),
    ],
)
def test_doubtful_labels_are_a_question_that_both_answers_settle(train, fact, answer):
    message = refusal(train)
    assert message.startswith(f"train.csv: {fact}") and message.endswith(KEEP)
    pasted = shlex.split(re.search(r"--rename-labels '.*?'", message)[0])
    assert pasted[1] == answer
    renamed = rows(train, rename_labels=pasted[1])
    assert len(renamed.task.labels) == len(set(train)) - 1
    kept = [label for label in train if parse_renames(answer).get(label, label) is not None]
    assert len(renamed.splits["train"]) == len(kept)
    accepted = rows(train, yes=True)
    assert set(accepted.task.labels) == set(train) and len(accepted.splits["train"]) == len(train)


def test_two_spellings_that_are_all_the_classes_can_only_be_accepted():
    assert "--rename-labels" not in refusal(["US", "us"] * 3)
    assert rows(["US", "us"] * 3, yes=True).task.labels == ("US", "us")


def test_one_line_answers_all_questions_and_keeps_earlier_answers():
    message = refusal([*TWO, "-", "POS", "label"], rename_labels='{"neg": "bad"}')
    answer = re.search(r"--rename-labels '(.*?)'", message)[1]
    assert answer == '{"neg": "bad", "label": null, "-": null, "POS": "pos"}'
    assert rows([*TWO, "-", "POS", "label"], rename_labels=answer).task.labels == ("bad", "pos")


@pytest.mark.parametrize(
    "labels", [["0.6", "1.8", "2", "3.25"] * 5, ["0.5", "1"] * 4, [f"{i / 7:.3f}" for i in range(40)]]
)
def test_numbers_with_decimals_are_taken_for_scores(labels):
    message = refusal(labels)
    assert "are numbers with decimals" in message and "If they are scores, add --regression; " + KEEP in message
    assert rows(labels, regression=True).task.labels == ()
    assert len(rows(labels, yes=True).task.labels) == len(set(labels))


@pytest.mark.parametrize("labels", [[f"a text of {i} words" for i in range(40)], ["x" * 9000, "pos"] * 9])
def test_texts_as_labels_are_taken_for_swapped_columns(labels):
    assert "If the columns are swapped, exchange --text-columns and --label-column" in refusal(labels)
    assert set(rows(labels, yes=True).task.labels) == set(labels)


def test_whole_numbers_and_many_classes_are_not_doubted():
    assert rows(["10", "9", "-1"] * 2).task.labels == ("-1", "9", "10")
    assert len(rows([str(i % 77) for i in range(300)]).task.labels) == 77


def test_labels_that_train_does_not_have_are_named_with_lines_and_counts():
    assert refusal(TWO, [*TWO, "odd", "odd", "weird"]) == (
        "dev.csv line 12: the label 'odd' is none of neg, pos, and neither are 'weird' (1); 2 rows are like this "
        "(lines 12, 13). Fix these rows, add rows of this class to the training rows, or leave such labels out: "
        """--rename-labels '{"odd": null, "weird": null}'"""
    )
    message = refusal(TWO, TWO, ["POS", "Neg "])
    answer = """--rename-labels '{"POS": "pos", "Neg ": "neg"}'"""
    assert message == (
        "test.csv line 2: the label 'POS' is none of neg, pos, and neither are 'Neg ' (1). If it is 'pos', add "
        + answer
    )
    assert rows(TWO, TWO, ["POS", "Neg "], rename_labels=shlex.split(answer)[1]).splits["test"].labels.tolist() == [
        1,
        0,
    ]
    assert len(refusal(TWO, ["y" * 9000])) < 300


@pytest.mark.parametrize("label", ["-1", "", " ", "-", "nan"])
def test_a_test_split_of_missing_labels_is_unlabelled(label):
    split = rows(TWO, TWO, [label] * 3).splits["test"]
    assert (split.labels.tolist(), split.labelled) == ([-1] * 3, False)
    assert rows(["-1", "1"] * 3, None, ["-1", "1"]).splits["test"].labels.tolist() == [0, 1]


def test_labels_in_a_part_of_a_split_are_refused_and_can_be_left_out():
    message = refusal(TWO, TWO, ["pos", "", "-1"])
    assert message == (
        "test.csv line 3: no label; 2 rows are like this (lines 3, 4). A dev or test split has labels in all of "
        "its rows, or (a test split) in none. Fill it in, or leave all rows without a label out, of train too: "
        """--rename-labels '{"": null, "-1": null}'"""
    )
    assert rows(TWO, TWO, ["pos", "", "-1"], rename_labels='{"": null, "-1": null}').splits["test"].texts == (
        ["test 0"],
    )
    assert refusal(TWO, ["-1"] * 4).startswith("dev.csv line 2: no label; 4 rows are like this")
    assert len(rows([*TWO, ""], rename_labels='{"": null}').splits["train"]) == 10


def test_control_characters_are_refused_with_the_line_that_removes_them():
    message = refusal([*TWO, "\x1b[31mred", "bell\x07"], yes=True)
    assert message.startswith(r"train.csv line 12: the label '\x1b[31mred' has control characters")
    answer = shlex.split(re.search(r"--rename-labels '.*?'", message)[0])[1]
    assert rows([*TWO, "\x1b[31mred", "bell\x07"], rename_labels=answer).task.labels == ("bell", "neg", "pos", "red")


def test_renames_that_cannot_be_are_refused():
    said = refusal(TWO, kind=BadOption, rename_labels='{"x": "y"}')
    assert said == "--rename-labels: no row has the label 'x'. Name some of neg, pos"
    assert refusal(TWO, rename_labels='{"pos": null, "neg": null}').startswith(
        "train.csv: --rename-labels leaves all its"
    )
    said = refusal(["0.5", "0.7"] * 3, kind=BadOption, regression=True, rename_labels='{"0.5": "1"}')
    assert said.startswith("--rename-labels renames classes")


def test_several_labels_per_row_are_renamed_one_by_one():
    split = rows(["a;b", "b", "a;-"] * 3, label_separator=";", rename_labels='{"-": null}').splits["train"]
    assert split.labels.tolist()[:3] == [[1, 1], [0, 1], [1, 0]]


def test_classes_of_a_model_number_the_rows():
    config = RowsConfig(
        task="mine", text_columns="text", label_column="label", train_file="train.csv", dev_file="dev.csv"
    )
    rows([*TWO, "aaa"], TWO)
    changed = load_rows(config, ("neg", "pos"))
    assert changed.task.labels == ("neg", "pos")
    assert changed.splits["train"].labels.tolist() == [1, 0] * 5 + [-2]
    assert changed.splits["dev"].labels.tolist() == [1, 0] * 5
    with pytest.raises(BadRows, match=r"^dev.csv line 2: the label 'pos' is none of bad, good.*: restore them$"):
        load_rows(replace(config), ("bad", "good"))
