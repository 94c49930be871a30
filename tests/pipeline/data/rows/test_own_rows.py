"""Own rows from several files, other places and data sets; dev rows that are taken from them."""

import bz2
import datetime
import gzip
import json
import lzma
import os
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.rows import TaskRows
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadOption, BadRows, DistillError

LINES = [f"film {i},{'pos' if i % 4 else 'neg'}" for i in range(40)]
OWN = {"task": "mine", "text_columns": "text", "label_column": "label"}


def load(**options) -> TaskRows:
    return load_rows(RowsConfig(**OWN | options))


def refusal(kind: type[DistillError] = BadRows, **options) -> str:
    with pytest.raises(kind) as error:
        load(**options)
    text = str(error.value)
    assert len(text) < 600 and text.isprintable()
    return text


def csv_of(lines: list[str]) -> str:
    return "\n".join(["text,label", *lines, ""])


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    """Files are named from the test's own directory: short names in the messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for number in range(4):
        Path(f"part-{number}.csv").write_text(csv_of(LINES[10 * number : 10 * number + 10]))
    Path("train.csv").write_text(csv_of(LINES))


# --- several files, and other places --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    ["part-*.csv", ["part-[01].csv", "part-2.csv", "part-3.csv"], "URL/part-*.csv", "URL/train.csv"],
)
def test_files_of_a_split_are_read_in_their_order(files, tmp_path):
    files = files.replace("URL", tmp_path.as_uri()) if isinstance(files, str) else files
    rows = load(train_file=files)
    assert rows.splits["train"].texts[0] == [f"film {i}" for i in range(40)]
    assert rows.splits["train"].labels.tolist() == [int(i % 4 > 0) for i in range(40)]


def test_one_file_is_recorded_as_a_string_and_several_as_a_list():
    assert RowsConfig(**OWN, train_file=["a.csv"]).train_file == "a.csv"
    assert RowsConfig(**OWN, train_file=[]).train_file is None
    config = RowsConfig(**OWN, train_file=["a.csv", "b.csv"])
    assert RowsConfig(**OWN, train_file=json.loads(json.dumps(config.train_file))) == config


def _zstandard(content: bytes) -> bytes:
    half = len(content) // 2
    codec = pyarrow.Codec("zstd")
    return b"".join(codec.compress(part, asbytes=True) for part in (content[:half], content[half:]))


COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": _zstandard}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_files_are_read_to_their_end(suffix):
    path, content = Path(f"TRAIN.CSV.{suffix}"), Path("train.csv").read_bytes()
    path.write_bytes(COMPRESSORS[suffix](content))
    assert len(load(train_file=str(path)).splits["train"]) == 40
    path.write_bytes(path.read_bytes()[:-12])
    assert refusal(train_file=str(path)).startswith(f"TRAIN.CSV.{suffix}: could not be read (")
    path.write_bytes(content)
    assert refusal(train_file=str(path)).startswith(f"TRAIN.CSV.{suffix}: could not be read (")


def test_places_that_cannot_be_read_are_refused():
    os.mkfifo("pipe.csv")
    Path("link.csv").symlink_to("gone.csv")
    Path("sound.csv").symlink_to("train.csv")
    assert len(load(train_file="sound.csv").splits["train"]) == 40
    for place, message in {
        "pipe.csv": "pipe.csv: is a pipe or a device, not a file. Save the rows to a file, and name that",
        "link.csv": "link.csv: is a link to gone.csv, which does not exist. Copy the file itself (cp -L follows links)",
        "no-*.csv": "no-*.csv: no file matches this pattern. Check it with: ls no-*.csv",
        ("part-0.csv", "part-*.csv"): "part-0.csv is named twice, so its rows would count twice. Name it once",
        "foo://host/a.csv": "foo://host/a.csv: could not be read (Protocol not known: foo). "
        "Check the URL, and what gives access to it",
        "file:///none.csv": "file:///none.csv: could not be read (No such file or directory). "
        "Check the URL, and what gives access to it",
        "file:///none.csv?secret": "file:///none.csv: could not be read (FileNotFoundError). "
        "Check the URL, and what gives access to it",
    }.items():
        assert refusal(train_file=place) == message


def test_faults_are_counted_over_all_files_of_a_split():
    for number in (1, 3):
        Path(f"part-{number}.csv").write_text(csv_of(["a,neg", " ,pos", ",pos", ",pos"]))
    assert refusal(train_file="part-*.csv") == (
        "part-1.csv line 3: no text in text; 6 rows are like this (part-1.csv line 3, part-1.csv line 4, part-1.csv "
        "line 5, part-3.csv line 3, part-3.csv line 4, …). Fill it in, or remove the rows"
    )


# --- what else is in a file -----------------------------------------------------------------------------------


def test_other_columns_may_hold_anything(tmp_path):
    others = {"lists": [["neutral"], []], "objects": [{"a": 1}, {"a": None}], "vectors": [[0.5, 1.0], [1.0]]}
    days = {"days": [datetime.date(2020, 1, 1)] * 2, "scores": [float("nan"), 1.0]}
    pyarrow.parquet.write_table(
        pyarrow.table({"text": ["a", "b"], "label": [1.0, 0.0], **others, **days}), "rows.parquet"
    )
    rows = [{"text": "a", "label": True, "n": float("nan"), **{name: values[0] for name, values in others.items()}}]
    digits = '{"text": "b", "label": false, "n": ' + "9" * 5000 + "}"
    Path("rows.jsonl").write_text("\n".join([*map(json.dumps, rows), digits]))
    Path("rows.csv").write_text("text,,,label,,\na,1,2,x,,\nb,,,y\nc,,,x,,,,\n")
    assert load(train_file="rows.parquet").task.labels == ("0", "1")
    assert load(train_file="rows.jsonl").task.labels == ("False", "True")
    assert load(train_file="rows.csv").splits["train"].texts == (["a", "b", "c"],)


def test_half_of_a_pair_may_be_empty():
    Path("pairs.csv").write_text("subject,body,label\n,body without a subject,tech\nx,,other\n")
    pairs = load(train_file="pairs.csv", text_columns="subject,body").splits["train"]
    assert pairs.texts == (["", "x"], ["body without a subject", ""])


@pytest.mark.parametrize(
    "content",
    [
        csv_of(LINES).replace(",", ";"),
        csv_of(LINES).replace(",", "\t"),
        csv_of(LINES).replace("\n", "\r"),
        csv_of(LINES).replace("text,label", " text , label"),
        csv_of(LINES).encode("utf-16"),
        csv_of(LINES).encode("utf-8-sig"),
    ],
    ids=["semicolons", "tabs", "carriage-returns", "blanks-in-the-header", "utf-16", "byte-order-mark"],
)
def test_files_of_plain_meaning_are_read(content):
    Path("ROWS.CSV").write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = load(train_file="ROWS.CSV")
    assert rows.splits["train"].texts == load(train_file="train.csv").splits["train"].texts
    assert rows.task.labels == ("neg", "pos")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "wide.csv",
            ",".join(f"c{i}" for i in range(20_000)) + ",Texts,label\n",
            "its 20,002 columns are Texts, c0, c1, ",
        ),
        ("long.csv", "x" * 150_000 + ",label\n", f"its columns are {'x' * 40}, label. Name one"),
        ("ends.csv", '"te\nxt\x1b[31m",label\n', "its columns are te xt[31m, label. Name one"),
        (
            "utf16.csv",
            csv_of(LINES).encode("utf-16-le"),
            "is UTF-16 without a byte order mark, or not text. Try: ",
        ),
        ("half.csv", csv_of(LINES).encode("utf-16")[:-1], "is not UTF-16 text from line 41 on. Save it as UTF-8"),
    ],
)
def test_a_complaint_is_one_short_line(name, content, message):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refusal(train_file=name)


# --- data sets ------------------------------------------------------------------------------------------------

CLASSES = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"]), "vector": [Value("float32")]})


def dataset(rows: int, label: int | None = None) -> Dataset:
    labels = [i % 2 if label is None else label for i in range(rows)]
    columns = {"text": [f"film {i} of {rows}" for i in range(rows)], "label": labels, "vector": [[1.0]] * rows}
    return Dataset.from_dict(columns, features=CLASSES)


def test_a_data_set_brings_its_splits_and_the_names_of_its_classes(capsys):
    parts = {"unsupervised": dataset(2), "test": dataset(5, -1), "validation": dataset(10), "train": dataset(20)}
    DatasetDict(parts).save_to_disk("saved")
    for name in ("train", "validation"):
        Path("hub").mkdir(exist_ok=True)
        parts[name].to_parquet(f"hub/{name}.parquet")
    rows = load(dataset="saved")
    assert (rows.task.labels, rows.origin) == (("pos", "neg"), "data set saved")
    assert {name: (len(part), part.labelled) for name, part in rows.splits.items()} == {
        "train": (20, True),
        "dev": (10, True),
        "test": (5, False),
    }
    assert "saved: the splits unsupervised are not used" in capsys.readouterr().err
    again = load(dataset="hub")
    assert list(again.splits) == ["train", "dev"] and again.task.labels == ("pos", "neg")
    assert again.splits["dev"].texts == rows.splits["dev"].texts
    parts["train"].save_to_disk("one")
    assert load(train_file="one").splits["train"].texts == rows.splits["train"].texts


def test_data_sets_that_cannot_be_used_are_refused():
    DatasetDict(train=dataset(4), test=dataset(4)).save_to_disk("saved")
    DatasetDict(test=dataset(4)).save_to_disk("without")
    assert refusal(train_file="saved") == "saved holds the splits train, test: name it with --dataset instead"
    assert refusal(dataset="without") == "the data set without has no split train; it has test. Use files"
    assert refusal(dataset="./nowhere:x") == "there is no directory ./nowhere. Check the path"
    assert refusal(dataset="train.csv") == "train.csv is a file: name it with --train-file"
    assert refusal(dataset="saved", label_column="labels") == (
        "saved train: has no column 'labels'; its columns are label, text, vector. "
        "Name one of these with --text-columns and --label-column"
    )
    assert refusal(BadOption, dataset="saved", dev_file="train.csv") == (
        "--dataset brings all splits: leave --dev-file out, or use files alone"
    )
    assert refusal(BadOption, dataset="saved", task="rte") == (
        "--dataset brings your own rows, but rte is a task of its own. Choose another --task name for them"
    )


def test_directory_of_saved_data_sets_is_read_by_the_names_of_splits_alone():
    for name, rows in {"train": 8, "validation": 4, "a/x": 4, "a/y": 4, "b/train": 4, "b/dev": 4, "b/val": 4}.items():
        dataset(rows).save_to_disk(f"splits/{name}" if "/" not in name else name)
    assert {name: len(part) for name, part in load(dataset="splits").splits.items()} == {"train": 8, "dev": 4}
    assert refusal(dataset="a") == (
        "a holds saved data sets (x, y) and is not one. Name one of them: --dataset a/x. If they are the splits of "
        "one, call them train, validation and test"
    )
    assert refusal(dataset="b").startswith("b holds saved data sets (dev, train, val) and is not one.")
    assert refusal(dataset="splits/..").startswith("splits/.. holds saved data sets (")


# --- dev rows -------------------------------------------------------------------------------------------------


def test_dev_rows_are_the_same_part_of_each_class_each_time(capsys):
    first, again = (load(train_file="train.csv", dev_fraction=0.2) for _ in range(2))
    train, dev = first.splits["train"], first.splits["dev"]
    assert list(first.splits) == ["train", "dev"] and dev.texts == again.splits["dev"].texts
    assert np.bincount(dev.labels).tolist() == [2, 6] and np.bincount(train.labels).tolist() == [8, 24]
    numbers = [[int(text.split()[1]) for text in part.texts[0]] for part in (train, dev)]
    assert sorted(numbers[0] + numbers[1]) == list(range(40)) and all(part == sorted(part) for part in numbers)
    assert "dev: 8 of 40 training rows, the same part of each class (--dev-fraction 0.2)" in capsys.readouterr().err


def test_a_class_of_one_row_stays_in_the_training_rows():
    Path("rare.csv").write_text(csv_of([*LINES, "a,rare", "b,twice", "c,twice"]))
    rows = load(train_file="rare.csv", dev_fraction=0.5)
    labels = [rows.task.labels[label] for label in rows.splits["train"].labels]
    assert labels.count("rare") == labels.count("twice") == 1


def test_dev_rows_are_not_taken_where_there_are_some_or_too_few():
    have = "there are dev rows already (dev): leave --dev-fraction out"
    assert refusal(BadOption, train_file="train.csv", dev_file="train.csv", dev_fraction=0.1) == have
    assert refusal(train_file="train.csv", dev_fraction=0.01) == (
        "--dev-fraction 0.01 of 40 training rows: too few rows. Give --dev-file"
    )
    assert refusal(BadOption, task="rte", text_columns=None, label_column=None, dev_fraction=0.1) == (
        "--dev-fraction belongs to your own rows: give --train-file as well"
    )


def test_dev_fraction_does_not_take_the_only_row_of_a_class():
    Path("few.csv").write_text(csv_of(["a,neg", "b,pos", "c,", "d,"]))
    assert refusal(train_file="few.csv", dev_fraction=0.5) == (
        "--dev-fraction 0.5 of 2 training rows with a label: too few rows. Give --dev-file"
    )
    Path("few.csv").write_text(csv_of(["a,neg", "b,pos", "c,", "d,neg", "e,"]))
    splits = load(train_file="few.csv", dev_fraction=0.5).splits
    assert splits["dev"].labels.tolist() == [0] and sorted(splits["train"].labels) == [-1, -1, 0, 1]
