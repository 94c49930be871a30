"""Questions with choices: how answers are written, and the line for rows that cannot be used."""

import json

import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadOption, BadRows

OPTIONS = {"task": "quiz", "text_columns": "text,question", "choices_columns": "options", "label_column": "answer"}


def row(answer, options=("red", "blue", "2"), **others):
    return {"text": "a text", "question": "which", "options": list(options), "answer": answer} | others


def labelled(labels, texts=("red", "blue", "2")):
    return {"text": list(texts), "label": list(labels[: len(texts)])}


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


LABELLED = {
    "as ARC": (labelled("123"), ["2", 3, "1"]),
    "in another order": (labelled("CBA"), ["B", "A", "C"]),
    "list of objects": (
        [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}, {"label": "C", "text": "2"}],
        ["B", "C", "A"],
    ),
    "text by label": ({"A": "red", "B": "blue", "C": 2}, ["B", "C", "A"]),
    "labels that answers do not use": (labelled("ABC"), [1, 2, 0]),
}


@pytest.mark.parametrize("name", LABELLED)
def test_choices_with_labels_are_answered_by_them(tmp_path, name):
    options, answers = LABELLED[name]
    rows = load(tmp_path, [row(answer) | {"options": options} for answer in answers])
    assert rows.labels.tolist() == [1, 2, 0] and [column[0] for column in rows.choices] == ["red", "blue", "2"]


@pytest.mark.parametrize("kind", ["parquet", "data set"])
def test_labelled_choices_of_other_sources(tmp_path, kind):
    from datasets import Dataset

    data = Dataset.from_list([row(answer) | {"options": labelled("BAC")} for answer in "AB"])
    if kind == "parquet":
        data.to_parquet(tmp_path / "train.parquet")
        source = {"train_file": str(tmp_path / "train.parquet")}
    else:
        data.save_to_disk(tmp_path / "saved")
        source = {"dataset": str(tmp_path / "saved")}
    assert load_rows(RowsConfig(**OPTIONS | source)).splits["train"].labels.tolist() == [1, 0]


def test_numbers_are_counted_from_0_where_a_split_has_0_or_yes_says_so(tmp_path):
    (tmp_path / "dev.jsonl").write_text(json.dumps(row(0)) + "\n")
    assert load(tmp_path, [row(1), row(2)], dev_file=str(tmp_path / "dev.jsonl")).labels.tolist() == [1, 2]
    assert load(tmp_path, [row(1), row(2)], yes=True).labels.tolist() == [1, 2]
    renames = '{"1": "A", "2": "B", "3": "C"}'
    assert load(tmp_path, [row(1), row(3), row(2)], rename_labels=renames).labels.tolist() == [0, 2, 1]
    with pytest.raises(BadRows, match=r"count from 1 .*Write letters from A to C$"):
        load(tmp_path, [row(1), row(3), row("x")], rename_labels='{"x": "2"}')


def test_answers_of_test_rows_that_are_lists(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps(row(["A"])) + "\n")
    with pytest.raises(BadRows, match=r"test\.jsonl line 1: the answer .* is none of its 3 choices"):
        load(tmp_path, [row("A")], test_file=str(tmp_path / "test.jsonl"))


@pytest.mark.parametrize(("option", "advice"), [("choices", "--choices-columns"), ("text", "--text-columns and")])
def test_option_of_a_missing_column_is_named(tmp_path, option, advice):
    with pytest.raises(BadRows, match=rf"has no column 'other'; its columns are .*\. Name one of these with {advice}"):
        load(tmp_path, [row("A")], **{f"{option}_columns": "other"})


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


ONE_WAY = "Write all answers in one way: a number from 0 to 2, a letter from A to C, or the choice itself"
WRITE = "Write a number from 0 to 2, a letter from A to C, or the choice itself"


def test_choices_in_csv_are_lists_of_json(tmp_path):
    path = tmp_path / "train.csv"
    options = OPTIONS | {"train_file": str(path), "text_columns": "text"}
    path.write_text('text,options,answer\na,"[""x"", ""y, z""]",A\nb,"[""u"", ""v""]",B\n')
    assert load_rows(RowsConfig(**options)).splits["train"].choices == (["x", "u"], ["y, z", "v"])
    path.write_text('text,options,answer\na,"[""x"", 1]",A\nb,"[""u"", ""v""]",B\n')
    with pytest.raises(BadRows, match="its choices are not a list but"):
        load_rows(RowsConfig(**options))


FILL = "Fill it in, or leave such questions out with --num-choices 3"
FAULTS = {
    "another answer": (
        [row("A"), row("red"), row("B"), row("C")],
        f"2: the answer 'red' is the text of a choice, and others are letters: texts and letters are mixed. {ONE_WAY}",
    ),
    "one letter among numbers": (
        [row(0), row(2), row("B")],
        "3: the answer 'B' is the letter of a choice, and others are numbers: letters and numbers are mixed. "
        f"{ONE_WAY}",
    ),
    "one number among letters": (
        [row("A"), row("C"), row("1"), row("0")],
        "3: the answer '1' is the number of a choice, and others are letters: numbers and letters are mixed; 2 rows "
        f"are like this (lines 3, 4). {ONE_WAY}",
    ),
    "another number": ([row(0), row(9)], f"2: the answer '9' is none of its 3 choices. {WRITE}"),
    "text of two choices": (
        [row("red"), row("x", ("x", "y", " x"))],
        "2: the answer 'x' is the text of 2 of its 3 choices. Make them differ, or write all answers as letters from A "
        "to C",
    ),
    "numbers from 1": (
        [row(1), row(2), row(3), row(3)],
        "3: the answers count from 1 (3 is one of them, 0 is not), and numbers count from 0 here. Add --rename-labels "
        """'{"1": "A", "2": "B", "3": "C"}'""",
    ),
    "numbers from 1, and another": (
        [row(1), row(3), row("B"), row(9)],
        "2: the answers count from 1 (3 is one of them, 0 is not), and numbers count from 0 here. Add --rename-labels "
        """'{"1": "A", "3": "C"}'""",
    ),
    "perhaps numbers from 1": (
        [row(1), row(2)],
        "1: no answer of any row is 0, so the answers may count from 1. If they do, add --rename-labels "
        """'{"1": "A", "2": "B"}'; if they count from 0, add --yes""",
    ),
    "another label": (
        [row("A") | {"options": labelled("DCBA")}, row("E") | {"options": labelled("DCBA")}],
        "2: the answer 'E' is none of its 3 choices. Write the label of a choice, as D, C, B",
    ),
    "object without texts": (
        [row("A") | {"options": {"choices": ["x", "y"], "labels": [1, 0]}}],
        "1: options is a list of lists: [['x', 'y'], [1, 0]]. "
        'Write choices as a list, or as {"text": […], "label": […]}',
    ),
    "fewer labels": (
        [row("A") | {"options": {"text": ["x", "y"], "label": ["A"]}}],
        "1: options does not have a label for each text: {'text': ['x', 'y'], 'label': ['A']}. "
        'Write choices as a list, or as {"text": […], "label": […]}',
    ),
    "a list of answers": ([row("A"), row(["A"])], f"2: the answer \"['A']\" is none of its 3 choices. {WRITE}"),
    "two meanings": (
        [row("1", ("1", "0", "x"))],
        "1: the answer '1' could be the text or the number of a choice, and these differ. Write letters from A to C",
    ),
    "other number of choices": (
        [row("A"), row("A", ("x", "y")), row("A", "wxyz")],
        "2: has 2 choices, not 3 as 1 of 3 rows; 2 rows are like this (lines 2, 3). To leave such questions out, add "
        "--num-choices 3",
    ),
    "one choice": ([row("A", ["x"])], "1: has 1 choices. Give 2 to 26"),
    "an empty choice": ([row("A", ("x", " ", "y"))], f"1: one of its choices is empty. {FILL}"),
    "a null choice": ([row("A", ("x", None, "y"))], f"1: one of its choices is empty. {FILL}"),
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
    with pytest.raises(BadRows, match=r"dev\.jsonl line 1: has 2 choices, not 3 as 1 of 2 rows\."):
        load(tmp_path, [row("A")], dev_file=str(tmp_path / "dev.jsonl"))


def test_num_choices_leaves_other_questions_out(tmp_path, capsys):
    rows = [row("A", ("x", "y")), row("C"), row("B", ("x", " ", "y")), row("D", "wxyz"), row("A")]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows[3:]))
    part = load(tmp_path, rows, num_choices=3, dev_file=str(tmp_path / "dev.jsonl"))
    assert part.labels.tolist() == [2, 0] and part.sequences == 3 and part.source.numbers == [2, 5]
    notes = capsys.readouterr().err
    assert "train: 3 of 5 questions left out, which do not have 3 choices\n" in notes and "dev: 1 of 2" in notes
    with pytest.raises(BadRows, match=r"train\.jsonl: none of its questions has 9 choices\. Give another --num-choi"):
        load(tmp_path, rows, num_choices=9)
    with pytest.raises(BadOption, match=r"^--num-choices belongs to questions with choices: give --choices-columns"):
        load(tmp_path, rows, num_choices=3, choices_columns=None)


@pytest.mark.parametrize("columns", ["options,answer", "options,", "text", "a,a"])
def test_columns_of_choices_are_columns_of_nothing_else(tmp_path, columns):
    with pytest.raises(BadOption, match=r"^--choices-columns takes one column of lists, or the column of each choice"):
        load(tmp_path, [row("A")], choices_columns=columns)
