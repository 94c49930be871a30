"""Rows without labels, read as a stream."""

import json
from pathlib import Path

import pytest

from pipeline.config.rows import CacheRowsConfig
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadOption, BadRows

OWN = {
    "task": "mine",
    "train_file": "train.csv",
    "dev_file": "dev.csv",
    "text_columns": "text",
    "label_column": "label",
}


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("text,label\na,x\nb,y\n")
    Path("dev.csv").write_text("text,label\nheld out,x\nc,y\n")
    Path("more").mkdir()
    Path("more/1.jsonl").write_text("".join(json.dumps({"text": f"row {n}", "label": []}) + "\n" for n in range(5)))
    Path("more/2.csv").write_text("id,text\n1,HELD  OUT\n2,row 5\n")
    Path("more/notes.txt").write_text("not rows")


def load(*files, **options):
    return load_rows(CacheRowsConfig(**OWN | {"unlabelled_file": files or ("more",)} | options))


def refusal(kind, *files, **options):
    with pytest.raises(kind) as error:
        list(load(*files, **options).transfer.parts(2))
    return str(error.value)


def test_rows_of_a_directory_are_read_in_parts_without_those_of_dev(capsys):
    rows = load()
    parts = list(rows.transfer.parts(4))
    assert [part.texts[0] for part in parts] == [["row 0", "row 1", "row 2", "row 3"], ["row 4", "row 5"]]
    assert all((part.labels == -1).all() and not part.labelled for part in parts)
    assert rows.leak_counts() == {"train": 0, "transfer": 1}
    assert capsys.readouterr().err == (
        "transfer: 1 of 7 rows have the texts of a row of dev (more/2.csv line 2 = dev.csv line 2). They are left out\n"
    )


def test_files_that_cannot_be_used_are_refused():
    Path("empty.csv").write_text("text\n")
    Path("blank.csv").write_text("text,id\nz,1\n ,2\n")
    Path("nothing").mkdir()
    assert refusal(BadRows, "empty.csv") == "empty.csv does not have any rows. Check the file"
    assert refusal(BadRows, "blank.csv") == "blank.csv line 3: no text in text. Fill it in, or remove the row"
    assert refusal(BadRows, "nothing").startswith("nothing: the directory has no file of rows (.csv, .tsv, .jsonl,")
    assert refusal(BadRows, "more/2.csv", text_columns="text,hypothesis").startswith("train.csv: has no column")
    assert refusal(BadRows, "gone.csv") == "gone.csv: there is no such file. Check the name"
    assert refusal(BadRows, "dev.csv") == (
        "dev.csv is given with --dev-file and with --unlabelled-file. Name it with one of them"
    )
    Path("other.csv").write_text("sentence\nz\n")
    assert refusal(BadRows, "other.csv") == (
        "other.csv: has no column 'text'; its columns are sentence. Name one of these with --text-columns"
    )
    Path("leak.csv").write_text("text\nHeld out\n")
    assert refusal(BadRows, "leak.csv").startswith("leak.csv: every row has the texts of a dev or test row")


def test_a_published_task_takes_rows_with_columns_of_other_names():
    Path("other.csv").write_text("sentence\nz\n")
    options = dict(train_file=None, dev_file=None, label_column=None, task="movie-reviews")
    rows = load("other.csv", **options | {"text_columns": "sentence"})
    assert next(rows.transfer.parts(5)).texts == (["z"],)
    assert refusal(BadOption, "other.csv", **options | {"text_columns": "a,b"}) == (
        "--text-columns a,b: movie-reviews has 1 text columns per row (text). Name as many"
    )


def test_questions_without_answers_have_their_choices():
    question = {"text": "q", "label": "A", "options": ["x", "y"]}
    Path("train.jsonl").write_text(json.dumps(question) + "\n" + json.dumps(question | {"label": "B"}))
    Path("more.jsonl").write_text(json.dumps({"text": "new", "options": ["v", "w"]}))
    rows = load("more.jsonl", train_file="train.jsonl", dev_file=None, choices_columns="options")
    (part,) = rows.transfer.parts(3)
    assert part.inputs(0, 1) == [["new", "new"], ["v", "w"]] and part.labels.tolist() == [-1]


def test_hidden_files_and_directories_of_a_directory_are_not_read(capsys):
    Path("more/.1.csv").write_text("other\n1\n")
    Path("more/below").mkdir()
    Path("more/below/3.csv").write_text("text\nrow 6\n")
    assert sum(map(len, load().transfer.parts(100))) == 6
    assert "more: the directories in it are not read. A pattern names their files, too, as 'more/**/*.csv'\n" in (
        capsys.readouterr().err
    )
    Path("nothing/below").mkdir(parents=True)
    assert refusal(BadRows, "nothing").endswith(" Name those below it by a pattern, as 'nothing/**/*.csv'")


@pytest.mark.parametrize("again", ["./more/2.csv", "link.csv", "file://{here}/more/2.csv"])
def test_a_file_under_two_names_is_refused(tmp_path, again):
    Path("link.csv").symlink_to("more/2.csv")
    again = again.format(here=tmp_path)
    assert refusal(BadRows, "more", again) == f"{again} is named twice, so its rows would count twice. Name it once"
    Path("more/2.csv").unlink()
    Path("more/2.csv").symlink_to("../train.csv")
    assert "is given with --train-file and with --unlabelled-file" in refusal(BadRows, "more")


def test_an_empty_name_of_a_file_is_refused():
    for option in ("unlabelled_file", "dev_file"):
        with pytest.raises(BadOption) as error:
            CacheRowsConfig(**OWN | {option: ("more", "") if option == "unlabelled_file" else ""})
        assert str(error.value) == f"--{option.replace('_', '-')} is empty. Name a file, or leave it out"
