import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.cache.open import open_cache
from tests.helpers.rewriting import rewritten
from tests.helpers.sealing import seal


def test_parquet_holds_rows_labels_texts_and_exact_targets(tiny, call, tmp_path):
    out = tmp_path / "toy.parquet"
    done = call("cache", "export", tiny.arrow, "--out", out, "--targets", "probabilities,logits,logprobs,cls_02")
    names = ["split", "example_id", "text", "label", "probabilities", "logits", "logprobs", "cls_02"]
    assert done.json["columns"] == names and done.json["rows"] == 430
    assert (done.json["command"], done.json["out"], done.json["bytes"]) == (
        "cache export",
        str(out),
        out.stat().st_size,
    )
    found, cache = pq.read_table(out), open_cache(tiny.arrow)
    assert found.column_names == names
    metadata = {name.decode(): value.decode() for name, value in found.schema.metadata.items() if name[:5] != b"ARROW"}
    assert json.loads(metadata["labels"]) == ["neg", "pos"] and metadata["cache_identity"] == cache.manifest.identity
    rows = found.to_pylist()
    assert [row["split"] for row in rows] == ["train"] * 300 + ["dev"] * 90 + ["test"] * 40
    with open(tiny.rows["train_file"]) as file:
        assert [(row["text"], row["label"]) for row in rows[:300]] == [
            (r["text"], r["label"]) for r in csv.DictReader(file)
        ]
    for name in ("logits", "cls_02"):
        stored = np.concatenate([split.column(name) for split in cache.splits.values()])
        assert (np.array([row[name] for row in rows], np.float32) == stored).all()
    logits = np.array([row["logits"] for row in rows])
    odds = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = np.array([row["probabilities"] for row in rows])
    np.testing.assert_allclose(probabilities, odds / odds.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(np.exp([row["logprobs"] for row in rows]), probabilities, rtol=1e-12)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_text_formats_hold_the_same(tiny, call, tmp_path, ending):
    assert call("cache", "export", tiny.arrow, "--out", tmp_path / "t.parquet", "--split", "dev").code == 0
    done = call("cache", "export", tiny.arrow, "--out", tmp_path / f"t.{ending}", "--split", "dev")
    assert done.json["rows"] == 90
    expected = pq.read_table(tmp_path / "t.parquet").to_pylist()
    with (tmp_path / f"t.{ending}").open(newline="") as file:
        if ending == "jsonl":
            assert [json.loads(line) for line in file] == expected
        else:
            rows = [row | {"probabilities": json.loads(row["probabilities"])} for row in csv.DictReader(file)]
            assert rows == [row | {"example_id": str(row["example_id"])} for row in expected]


@pytest.mark.parametrize(
    ("columns", "exported"),
    [("a,b", ["a", "b"]), ("split,b", ["text_1", "b"]), ("text_2,split", ["text_1", "text_2"])],
)
def test_columns_of_texts_do_not_take_the_names_of_others(call, tmp_path, columns, exported):
    names = columns.split(",")
    rows = [{names[0]: f"text {n}", names[1]: "x", "label": "ab"[n % 2], "p": [0.5, 0.5]} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--text-columns", columns, "--label-column", "label", "--target-columns", "p", "--teacher-name", "gpt")
    cache, out = tmp_path / "cache", tmp_path / "t.jsonl"
    given = ("cache-teacher", "--task", "pairs", "--train-file", tmp_path / "rows.jsonl", "--cache", cache)
    assert call(*given, *options, "--allow-weak-teacher").code == 0
    assert call("cache", "export", cache, "--out", out).json["columns"][2:4] == exported
    row = json.loads(out.read_text().splitlines()[3])
    assert [row[name] for name in exported] == ["text 3", "x"]


def test_csv_is_refused_for_lists_of_labels(call, tmp_path):
    rows = [{"text": f"text {n}", "label": ["a"] if n % 2 else ["a", "b"], "p": [0.5, n / 10]} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--text-columns", "text", "--label-column", "label", "--target-columns", "p", "--teacher-name", "gpt")
    cache, out = tmp_path / "cache", tmp_path / "t.csv"
    given = ("cache-teacher", "--task", "topics", "--train-file", tmp_path / "rows.jsonl", "--cache", cache)
    assert call(*given, *options, "--allow-weak-teacher").code == 0
    refused = call("cache", "export", cache, "--out", out)
    assert (refused.code, out.exists()) == (2, False)
    assert refused.error == (
        f"Error: --out {out}: the label of a row is a list of classes, which a csv file does not hold. Name a "
        ".parquet or .jsonl file"
    )


def test_a_missing_label_is_null(tiny, call, tmp_path):
    def unlabelled(split, index, columns):
        if split == "test":
            columns["label"][:] = -1

    rewritten(tiny.arrow, tmp_path / "cache", unlabelled)
    seal(tmp_path / "cache", lambda v: v["splits"]["test"].update(labelled=False, labelled_examples=0))
    done = call("cache", "export", tmp_path / "cache", "--out", tmp_path / "t.parquet", "--split", "test")
    assert done.code == 0, done.stderr
    assert set(pq.read_table(tmp_path / "t.parquet")["label"].to_pylist()) == {None}


def test_no_text_leaves_texts_out(tiny, call, tmp_path):
    done = call("cache", "export", tiny.arrow, "--out", tmp_path / "t.parquet", "--no-text", "--split", "dev")
    assert done.json["columns"] == ["split", "example_id", "label", "probabilities"]


def refusals(tiny, tmp_path):
    known = "probabilities, logprobs, logits, cls_01, cls_02, cls_03"
    yield (
        ("--targets", "logits,cls_09"),
        f"--targets 'cls_09': {tiny.arrow} does not have this target. Use some of {known}",
    )
    yield ("--targets", ""), f"--targets '': {tiny.arrow} does not have this target. Use some of {known}"
    yield (
        ("--split", "dev_matched"),
        ("there is no split dev_matched; there are train, dev, test. Use --split with one of these"),
    )


@pytest.mark.parametrize("place", range(3))
def test_unknown_targets_and_splits_are_named(tiny, call, tmp_path, place):
    words, text = list(refusals(tiny, tmp_path))[place]
    done = call("cache", "export", tiny.arrow, "--out", tmp_path / "t.parquet", *words)
    assert (done.code, done.error) == (2, f"Error: {text}")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_or_has_no_format_is_refused(tiny, call, tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    done = call("cache", "export", tiny.arrow, "--out", tmp_path / "t.csv")
    assert (done.code, done.error) == (
        2,
        f"Error: {tmp_path}/t.csv exists, and nothing was changed. Name another --out",
    )
    assert (tmp_path / "t.csv").read_text() == "mine"
    done = call("cache", "export", tiny.arrow, "--out", tmp_path / "t.txt")
    text = f"--out {tmp_path}/t.txt does not end in .parquet, .csv, .jsonl. Give it one of these endings"
    assert (done.code, done.error) == (2, f"Error: {text}")


def test_damage_leaves_no_file(tiny, call, tmp_path):
    def other(split, index, columns):
        if (split, index) == ("dev", 1):
            columns["logits"][0] = np.nan

    rewritten(tiny.arrow, tmp_path / "cache", other)
    done = call("cache", "export", tmp_path / "cache", "--out", tmp_path / "t.parquet")
    assert done.code == 2 and "is not finite" in done.error
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
