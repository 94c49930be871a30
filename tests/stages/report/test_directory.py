"""The directory of a report: replaced by a report of the same runs only, and never when a file in it was changed."""

import pytest

from pipeline.errors import BadOption
from stages.report.directory import ReportDirectory

KEY = {"task": "toy", "runs": ["runs/a"]}


def written(path, key=KEY, text="one"):
    directory = ReportDirectory(path, key)
    directory.check()
    directory.write({"index.html": text})


def test_the_same_report_is_replaced_whole(tmp_path):
    written(tmp_path / "report")
    written(tmp_path / "report", text="two")
    assert (tmp_path / "report" / "index.html").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_other_places_are_refused_and_left_alone(tmp_path):
    out = tmp_path / "report"
    written(out)
    with pytest.raises(BadOption) as error:
        written(out, {**KEY, "runs": ["runs/b"]})
    assert str(error.value) == f"{out} is the report of other runs. Choose another --out, or remove it"
    (out / "index.html").write_text("my notes")
    with pytest.raises(BadOption) as error:
        written(out)
    assert str(error.value) == f"{out}/index.html is not as report wrote it. Move it away, or choose another --out"
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    for place in (tmp_path / "file", tmp_path / "folder"):
        with pytest.raises(BadOption, match=f"{place} exists and is not a report. Choose another --out"):
            written(place)
    assert (out / "index.html").read_text() == "my notes"
