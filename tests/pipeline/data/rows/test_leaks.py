"""Texts of training rows that are also in a dev or test split."""

from pathlib import Path

import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.leaks import text_key
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadRows

OWN = {"task": "mine", "train_file": "train.csv", "text_columns": "text", "label_column": "label"}
DEV, TEST = "text,label\nA  Good\u00a0FILM,a\nother,b\n", "text\n\ufb01ne\n"
TRAIN = "text,label\na good film,a\nmine,b\nFINE,\n"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in {"train": TRAIN, "dev": DEV, "test": TEST}.items():
        Path(f"{name}.csv").write_text(content)


def load(**options):
    return load_rows(RowsConfig(**OWN | {"dev_file": "dev.csv", "test_file": "test.csv"} | options))


def test_texts_are_the_same_in_any_form_case_and_white_space():
    assert text_key(["\ufb01ne \t caf\u00e9"]) == text_key([" FINE cafe\u0301\n"])
    assert text_key(["a", "b"]) != text_key(["a b"]) != text_key(["a  b", ""])


def test_leaks_are_counted_and_named_and_left_out_on_demand(capsys):
    assert load().leak_counts() == {"train": 2}
    fact = (
        "train: 2 of 3 rows have the texts of a row of dev or test "
        "(train.csv line 2 = dev.csv line 2, train.csv line 4 = test.csv line 2)."
    )
    assert f"{fact} Leave them out with --drop-leaks\n" in capsys.readouterr().err
    Path("train.csv").write_text(TRAIN + "x,a\n")
    rows = load(drop_leaks=True)
    assert rows.splits["train"].texts == (["mine", "x"],) and rows.leak_counts() == {"train": 2}
    assert "They are left out\n" in capsys.readouterr().err


def test_training_rows_that_are_all_leaks_are_refused():
    with pytest.raises(BadRows, match="--drop-leaks leaves all training rows out: dev or test rows have the texts"):
        load(train_file="dev.csv", dev_file="dev.csv", drop_leaks=True)


def test_rows_of_a_published_task_are_compared():
    rows = load_rows(RowsConfig(task="movie-reviews"))
    kept = load_rows(RowsConfig(task="movie-reviews", drop_leaks=True))
    assert len(kept.splits["train"]) == len(rows.splits["train"]) - rows.leak_counts()["train"]
