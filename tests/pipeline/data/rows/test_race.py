"""RACE in the layout of its archive: which questions are read, in which order, and the line for a broken file."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadRows
from tests.helpers.questions import write_articles


def test_questions_of_both_levels_in_order(tmp_path):
    write_articles(tmp_path)
    rows = load_rows(RowsConfig(task="race", data_dir=str(tmp_path)))
    train = rows.splits["train"]
    assert list(rows.splits) == ["train", "dev", "test"] and len(train) == 2 * 3 * 2
    assert train.texts[0][::2] == [
        f"the {level} train film of book {n}" for level in ("middle", "high") for n in range(3)
    ]
    assert train.texts[1][:2] == ["is it good", "what was it"] and train.labels[:4].tolist() == [0, 3, 0, 3]
    assert [column[1] for column in train.choices] == ["a book", "a film", "a plot", "so so"]
    assert rows.task.labels == ("A", "B", "C", "D") and rows.splits["test"].labelled


@pytest.mark.parametrize("level", ["middle", "high"])
def test_one_level_alone(tmp_path, level):
    write_articles(tmp_path, (level,))
    rows = load_rows(RowsConfig(task=f"race-{level}", data_dir=str(tmp_path)))
    assert len(rows.splits["dev"]) == 6 and rows.splits["dev"].texts[0][0].startswith(f"the {level} dev")


def test_missing_level_and_directory_above_are_named(tmp_path):
    write_articles(tmp_path / "RACE", ("middle",))
    with pytest.raises(BadRows) as error:
        load_rows(RowsConfig(task="race", data_dir=str(tmp_path / "RACE")))
    assert str(error.value) == (
        f"--data-dir {tmp_path}/RACE has no train/high, dev/high, test/high. Give the directory RACE of the official "
        "files, which holds train, dev and test"
    )
    with pytest.raises(BadRows, match=f"has no train/middle, dev/middle. Try --data-dir {tmp_path}/RACE$"):
        load_rows(RowsConfig(task="race-middle", data_dir=str(tmp_path)))


def test_test_questions_are_of_all_levels_or_absent(tmp_path):
    write_articles(tmp_path)
    shutil.rmtree(tmp_path / "test" / "high")
    with pytest.raises(BadRows, match=r" has no test/high\. Give the directory RACE"):
        load_rows(RowsConfig(task="race", data_dir=str(tmp_path)))
    shutil.rmtree(tmp_path / "test")
    assert list(load_rows(RowsConfig(task="race", data_dir=str(tmp_path))).splits) == ["train", "dev"]


ARTICLE = {"article": "a", "questions": ["q"], "options": [list("wxyz")], "answers": ["A"]}
BROKEN = {
    "not JSON": (b"{", "not JSON, line 1, character 2: Expecting property name enclosed in double quotes"),
    "not UTF-8": (b'{"article": "\xff"}', "not UTF-8 text, byte 0xff"),
    "nested too deeply": (b"[" * 200_000, "not JSON that can be read: it is nested too deeply"),
    "number of many digits": (b'{"article": ' + b"1" * 5000 + b"}", "questions, options and answers are not lists"),
    "answers missing": (ARTICLE | {"answers": None}, "questions, options and answers are not lists of one length"),
    "a list": (b"[]", "not a JSON object"),
    "no article": (ARTICLE | {"article": " "}, "no article"),
    "fewer answers": (ARTICLE | {"answers": []}, "questions, options and answers are not lists of one length"),
    "no questions": (
        ARTICLE | {"questions": [], "options": [], "answers": []},
        "questions, options and answers are not",
    ),
    "three options": (ARTICLE | {"options": [list("xyz")]}, "a question without 4 options"),
    "a number as question": (ARTICLE | {"questions": [1]}, "a question without 4 options"),
    "another letter": (ARTICLE | {"answers": ["E"]}, "an answer that is not a letter from A to D"),
    "half a character": (ARTICLE | {"article": "\ud800"}, "contains half of a surrogate pair, which is not text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_named(tmp_path, name):
    write_articles(tmp_path)
    content, reason = BROKEN[name]
    path = tmp_path / "dev" / "high" / "10.txt"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(BadRows) as error:
        load_rows(RowsConfig(task="race", data_dir=str(tmp_path)))
    assert str(error.value).startswith(f"{path}: is not an article of RACE ({reason}")
    assert str(error.value).endswith("). Take RACE from its official archive again")


@pytest.mark.parametrize("kind", ["pipe", "directory", "link"])
def test_article_that_is_not_a_file_is_named(tmp_path, kind):
    path = write_articles(tmp_path) / "train" / "high" / "x.txt"
    {"pipe": os.mkfifo, "directory": os.mkdir, "link": lambda place: os.symlink(tmp_path / "absent", place)}[kind](path)
    with pytest.raises(BadRows) as error:
        load_rows(RowsConfig(task="race", data_dir=str(tmp_path)))
    reason = "a link to nothing" if kind == "link" else "not a file"
    assert str(error.value) == (
        f"{path}: is not an article of RACE ({reason}). Take RACE from its official archive again"
    )


def edit_answers(directory: Path, change) -> None:
    for path in directory.rglob("*.txt"):
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize("answers", ["absent", None, [], [None, None], ["", ""], [-1, -1]])
def test_test_questions_without_answers_are_unlabelled(tmp_path, answers):
    write_articles(tmp_path)
    if answers == "absent":
        edit_answers(
            tmp_path / "test", lambda record: {key: record[key] for key in ("article", "questions", "options")}
        )
    else:
        edit_answers(tmp_path / "test", lambda record: record | {"answers": answers})
    splits = load_rows(RowsConfig(task="race", data_dir=str(tmp_path))).splits
    assert not splits["test"].labelled and set(splits["test"].labels.tolist()) == {-1} and splits["dev"].labelled
    edit_answers(tmp_path / "test" / "high", lambda record: record | {"answers": ["A", "D"]})
    with pytest.raises(BadRows, match=r"test/middle/9\.txt question 1: no answer; 6 rows are like this"):
        load_rows(RowsConfig(task="race", data_dir=str(tmp_path)))


def test_several_broken_files_are_counted(tmp_path):
    write_articles(tmp_path)
    for level in ("middle", "high"):
        (tmp_path / "train" / level / "9.txt").write_text("")
    with pytest.raises(BadRows) as error:
        load_rows(RowsConfig(task="race", data_dir=str(tmp_path)))
    assert str(error.value).startswith(f"{tmp_path}/train/middle/9.txt: is not an article of RACE (")
    assert str(error.value).endswith("; 2 files are like this. Take RACE from its official archive again")


def test_questions_of_the_hub(tmp_path, monkeypatch):
    from dataclasses import replace

    from datasets import Dataset, DatasetDict

    from pipeline.data.rows.race import race_rows
    from pipeline.data.tasks import find_task

    question = {"article": "a text", "question": "which", "options": list("wxyz"), "answer": "C", "example_id": "1"}
    parts = DatasetDict({name: Dataset.from_list([question] * 2) for name in ("train", "validation", "test")})
    parts.save_to_disk(tmp_path / "race")
    rows = race_rows(replace(find_task("race"), hub=(str(tmp_path / "race"), "")), None)
    assert list(rows.splits) == ["train", "dev", "test"] and rows.splits["dev"].labels.tolist() == [2, 2]


def test_length_is_512_unless_given(tmp_path):
    assert RowsConfig(task="race-high").max_length == RowsConfig(task="quiz", choices_columns="a").max_length == 512
    assert RowsConfig(task="race", max_length=128).max_length == RowsConfig(task="rte").max_length == 128
