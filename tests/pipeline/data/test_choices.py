"""Questions with choices: how answers are written, and the line for rows that cannot be used."""

import json

import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.sources import load_rows
from pipeline.errors import BadOption, BadRows

OPTIONS = {"task": "quiz", "text_columns": "text,question", "choices_columns": "options", "label_column": "answer"}


def row(answer, options=("red", "blue", "2"), **others):
    return {"text": "a text", "question": "which", "options": list(options), "answer": answer} | others


def load(tmp_path, rows, **options):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return load_rows(RowsConfig(**OPTIONS | {"train_file": str(path)} | options)).splits["train"]


@pytest.mark.parametrize(
    "answers", [[2, 0, 1], ["C", "A", "b"], ["2", "red", " blue"]], ids=["number", "letter", "text"]
)
def test_answer_is_a_number_a_letter_or_the_choice(tmp_path, answers):
    rows = load(tmp_path, [row(answer) for answer in answers])
    assert rows.labels.tolist() == [2, 0, 1] and rows.labelled and rows.sequences == 3
    assert [column[0] for column in rows.choices] == ["red", "blue", "2"]


def test_choices_in_columns_of_their_own(tmp_path):
    (tmp_path / "train.csv").write_text("start,a,b,answer\nit is,good,bad,1\nwas it,bad,good,0\n")
    options = {"train_file": str(tmp_path / "train.csv"), "text_columns": "start", "choices_columns": "a,b"}
    loaded = load_rows(RowsConfig(**OPTIONS | options))
    rows = loaded.splits["train"]
    assert loaded.texts == 2  # pairs, of one column of texts
    assert rows.inputs(0, 2) == [["it is", "it is", "was it", "was it"], ["good", "bad", "bad", "good"]]
    assert rows.labels.tolist() == [1, 0]


def test_question_stands_before_each_choice(tmp_path):
    rows = load(tmp_path, [row(0), row(1, question="")])
    assert rows.inputs(0, 1) == [["a text"] * 3, ["which red", "which blue", "which 2"]]
    assert rows.inputs(1, 2)[1] == ["red", "blue", "2"]


WRITE = "Write a number from 0 to 2, a letter from A to C, or the choice itself"
FAULTS = {
    "another answer": (
        [row("A"), row("red"), row("B"), row("C")],
        f"2: the answer 'red' is none of its 3 choices. {WRITE}",
    ),
    "numbers from 1": ([row(1), row(2), row(3)], f"3: the answer '3' is none of its 3 choices. {WRITE}"),
    "no answer": ([row("A"), row(None), row("")], "2: no answer; 2 rows are like this (lines 2, 3). Fill it in"),
    "a list of answers": ([row("A"), row(["A"])], f"2: the answer \"['A']\" is none of its 3 choices. {WRITE}"),
    "two meanings": (
        [row("1", ("1", "0", "x"))],
        "1: the answer '1' could be the text or the number of a choice, and these differ. Write letters from A to C",
    ),
    "other number of choices": (
        [row("A"), row("A", ("x", "y")), row("A", "wxyz")],
        "2: has 2 choices, and the first training row has 3; 2 rows are like this (lines 2, 3). Give every row as "
        "many, or remove the rows",
    ),
    "one choice": ([row("A", ["x"])], "1: has 1 choices. Give 2 to 26"),
    "an empty choice": ([row("A", ("x", " ", "y"))], "1: one of its choices is empty. Fill it in, or remove the row"),
    "a null choice": ([row("A", ("x", None, "y"))], "1: one of its choices is empty. Fill it in, or remove the row"),
    "no list": (
        [row("A") | {"options": "x; y\nz"}],
        "1: its choices are not a list but 'x; y z'. Write them as a list, or name a column for each with "
        "--choices-columns A,B,…",
    ),
    "no text": ([row("A", text="", question="")], "1: no text in text and question. Fill it in, or remove the row"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_row_that_cannot_be_used_is_named_with_its_line(tmp_path, name):
    rows, text = FAULTS[name]
    with pytest.raises(BadRows) as error:
        load(tmp_path, rows)
    assert str(error.value) == f"{tmp_path}/train.jsonl line {text}"


def test_another_number_of_choices_in_the_dev_rows(tmp_path):
    (tmp_path / "dev.jsonl").write_text(json.dumps(row("A", ("x", "y"))) + "\n")
    with pytest.raises(BadRows, match=r"dev\.jsonl line 1: has 2 choices, and the first training row has 3"):
        load(tmp_path, [row("A")], dev_file=str(tmp_path / "dev.jsonl"))


@pytest.mark.parametrize("columns", ["options,answer", "options,", "text", "a,a"])
def test_columns_of_choices_are_columns_of_nothing_else(tmp_path, columns):
    with pytest.raises(BadOption, match=r"^--choices-columns takes one column of lists, or the column of each choice"):
        load(tmp_path, [row("A")], choices_columns=columns)
