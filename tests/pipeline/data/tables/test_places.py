"""Places of rows: how they are shown, and which of them are missing."""

from pathlib import Path

import pytest

from pipeline.config.rows import RowsConfig
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.tables.places import absolute, missing, name_of, suffix_of
from pipeline.training.provenance import shareable


@pytest.mark.parametrize(
    ("place", "suffix"),
    [
        ("Rows.CSV", ".csv"),
        ("a.b/rows.jsonl.GZ", ".jsonl"),
        ("rows.gz", ""),
        ("https://host/rows.tsv.zst?download=1.csv", ".tsv"),
        ("rows", ""),
    ],
)
def test_the_format_of_a_file_is_its_suffix(place, suffix):
    assert suffix_of(place) == suffix


def test_a_place_is_shown_on_one_line_without_secrets():
    assert name_of("https://user:password@host/rows.csv?signature=1") == "https://host/rows.csv"
    assert name_of("a\n\x1b[31mb.csv") == "a [31mb.csv"


def test_the_first_missing_place_is_named(in_directory):
    Path("a-1.csv").touch()
    rows = {"task": "toy", "data_dir": None, "train_file": ["a-*.csv", "https://host/x.csv"], "dataset": "owner/name"}
    assert missing(rows) is None
    assert missing(rows | {"dev_file": "b-*.csv"}) == "b-*.csv"
    assert missing(rows | {"test_file": "c.csv"}) == "c.csv"
    assert (absolute("c.csv"), absolute("s3://b/c.csv")) == (f"{in_directory}/c.csv", "s3://b/c.csv")


def test_places_are_shared_without_what_is_private(in_directory):
    files = (f"{in_directory}/a.csv", "/home/me/b.csv", "https://me:secret@host/c.csv?key=1")
    shared = shareable(CacheTeacherConfig(task="toy", train_file=files, dataset="/home/me/data"))
    assert shared.train_file == ("a.csv", "b.csv", "https://host/c.csv")
    assert (shared.dataset, shared.dev_file) == ("data", None)
    assert RowsConfig(task="toy", dataset="owner/name:config").dataset == "owner/name:config"
