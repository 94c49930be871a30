from dataclasses import replace

import numpy as np
import pytest

from pipeline.cache.open import open_cache
from pipeline.config.cache import CacheDiffConfig
from stages.cache import diff
from tests.helpers.rewriting import change_token, flip_byte, rewritten, without_split

EQUAL = {"equal": 1.0, "largest": 0.0, "mean": 0.0}
COLUMNS = ["logits", "cls_01", "cls_02", "cls_03"]


def test_diff_of_two_containers_is_equal(call, tiny, monkeypatch):
    monkeypatch.setattr(diff, "_compare", None)  # their digests say it: nothing is read
    result = call("cache", "diff", tiny.arrow, tiny.hdf5)
    assert result.code == 0
    found = result.json
    assert (found["command"], found["a"], found["b"]) == ("cache diff", str(tiny.arrow), str(tiny.hdf5))
    assert found["same"] and found["same_identity"] and found["same_content"]
    assert found["fields"] == ["container: arrow ≠ hdf5"]
    assert found["splits"]["train"] == {
        "a": 300,
        "b": 300,
        "same": 300,
        "differ": 0,
        "columns": dict.fromkeys(COLUMNS, EQUAL),
    }
    assert result.stdout.splitlines()[:2] == ["identity same, content same", "container: arrow ≠ hdf5"]
    assert result.stdout.splitlines()[-2] == (
        "One cache: equal by the digests of every shard. python cli.py cache verify checks the bytes against them."
    )


def test_diff_of_two_dtypes_reports_distances(call, tiny):
    result = call("cache", "diff", tiny.arrow, tiny.float16)
    found = result.json
    assert not found["same"] and not found["same_identity"] and not found["same_content"]
    assert found["fields"] == ["dtype: float32 ≠ float16"]
    a, b = open_cache(tiny.arrow).splits["dev"], open_cache(tiny.float16).splits["dev"]
    assert found["splits"]["dev"]["columns"]["logits"] == EQUAL
    for column in COLUMNS[1:]:
        distance = np.abs(a.column(column).astype(float) - b.column(column).astype(float))
        numbers = found["splits"]["dev"]["columns"][column]
        assert numbers["largest"] == distance.max() > 0
        assert numbers["mean"] == pytest.approx(distance.mean())
        assert numbers["equal"] == (distance == 0).all(axis=1).mean()


def test_diff_names_another_teacher(call, tiny):
    found = call("cache", "diff", tiny.arrow, tiny.no_dropout).json
    assert (found["same"], found["same_identity"], found["same_content"]) == (False, False, True)
    assert [line.partition(":")[0] for line in found["fields"]] == ["teacher_config", "teacher/config.json"]


def test_diff_counts_rows_and_distances(call, tiny, tmp_path):
    """One row with other tokens, one with another label, one number changed in each of two columns."""

    def change(split, index, columns):
        if (split, index) == ("train", 1):  # examples 64..127
            change_token(columns, 2)
            columns["cls_01"][2] += 100  # of a row with other tokens: not counted
            columns["label"][4] = 1 - columns["label"][4]
            columns["logits"][7, 1] += 0.5
            columns["cls_03"][9] += 0.25

    other = rewritten(tiny.arrow, tmp_path / "other", change)
    for a, b in ((tiny.arrow, other), (other, tiny.arrow)):
        result = call("cache", "diff", a, b)
        train = result.json["splits"]["train"]
        assert (train["a"], train["b"], train["same"], train["differ"]) == (300, 300, 298, 2)
        columns = train["columns"]
        assert columns["cls_01"] == columns["cls_02"] == EQUAL
        assert columns["logits"]["equal"] == columns["cls_03"]["equal"] == 298 / 299
        assert columns["logits"]["largest"] == pytest.approx(0.5, rel=1e-5)
        assert columns["logits"]["mean"] == pytest.approx(0.25 / 299, rel=1e-5)
        assert columns["cls_03"]["largest"] == pytest.approx(0.25, rel=1e-5)
        assert columns["cls_03"]["mean"] == pytest.approx(0.25 / 299, rel=1e-5)
        assert result.json["splits"]["dev"]["differ"] == 0
        (line,) = result.json["fields"]
        digests = [open_cache(place).manifest.fields.splits["train"][:8] for place in (a, b)]
        assert line == f"splits.train: {digests[0]}… ≠ {digests[1]}…"
        assert line in result.stdout.splitlines()
    assert ["train", "logits", "99.67%", "0.5", "0.000836"] in [line.split() for line in result.stdout.splitlines()]


def test_diff_counts_splits_of_one_cache_as_different(call, tiny, tmp_path):
    other = without_split(tiny.arrow, tmp_path / "other", "dev")
    found = call("cache", "diff", other, tiny.arrow).json
    assert list(found["splits"]) == ["train", "test", "dev"]
    assert found["splits"]["dev"] == {"a": 0, "b": 90, "same": 0, "differ": 90, "columns": {}}


def test_diff_compares_reordered_labels_by_name(call, tiny, tmp_path):
    """The same classes numbered otherwise, with labels and logits turned round: no row and no number differs."""

    def change(split, index, columns):
        columns["label"][:] = 1 - columns["label"]
        columns["logits"][:] = columns["logits"][:, ::-1].copy()

    other = rewritten(tiny.arrow, tmp_path / "other", change)
    turned = open_cache(other).manifest
    fields = replace(turned.fields, labels=("pos", "neg"))
    replace(turned, fields=fields, task=replace(turned.task, labels=("pos", "neg"))).write(other)
    found = call("cache", "diff", tiny.arrow, other).json
    assert found["fields"][0] == "labels: ['neg', 'pos'] ≠ ['pos', 'neg']"
    assert found["splits"]["train"]["differ"] == 0
    assert found["splits"]["train"]["columns"]["logits"] == EQUAL
    fields = replace(turned.fields, labels=("pos", "other"))
    replace(turned, fields=fields, task=replace(turned.task, labels=("pos", "other"))).write(other)
    train = call("cache", "diff", tiny.arrow, other).json["splits"]["train"]
    assert (train["same"], list(train["columns"])) == (0, COLUMNS[1:])


def test_diff_verifies_what_it_reads(call, tiny, tmp_path):
    other = rewritten(tiny.arrow, tmp_path / "other", lambda *_: None, made={})
    shard = open_cache(other).manifest.splits["dev"].shards[0]
    flip_byte(other / shard.file, shard.parts["cls_02"].offset)
    error = (
        f"Error: {other}/dev/00000.arrow is damaged (the bytes of cls_02 are not those of the manifest). "
        f"Run: python cli.py cache verify {other} --repair"
    )
    for a, b in ((tiny.float16, other), (other, tiny.float16)):
        result = call("cache", "diff", a, b)
        assert (result.code, result.error) == (2, error)


def test_diff_refuses_values_that_are_not_finite(tiny, tmp_path):
    def change(split, index, columns):
        columns["cls_02"][0, 0] = np.inf

    other = rewritten(tiny.arrow, tmp_path / "other", change)
    with pytest.raises(diff.BadCache) as error:
        diff.run(CacheDiffConfig(a=str(tiny.arrow), b=str(other)))
    assert str(error.value) == f"{tiny.arrow} or {other}: cls_02 of split train is not finite. Verify both"


def test_diff_refuses_directory_without_cache(call, tiny, in_directory):
    result = call("cache", "diff", tiny.arrow, "nothing")
    assert (result.code, result.error) == (
        2,
        "Error: nothing: there is no such cache. Make it: python cli.py cache-teacher --cache nothing --task TASK",
    )
    assert list(in_directory.iterdir()) == []
