"""The command `report`: on real runs of a tiny teacher, from the command line."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from cli import main
from pipeline.errors import BadRun
from stages.report.student_run import read_student
from stages.sweep.search.directory import SweepDirectory
from tests.helpers.sweep_pages import Page, drawn
from tests.helpers.sweeps import run_sweep

pytestmark = pytest.mark.trains
SECTIONS = [
    *("Data and teacher", "Methods", "Size and speed", "Learning curves", "Patience loss by layer"),
    *("Disagreements", "Calibration", "Cost", "Commands"),
]


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Students of two methods and seeds, and one that matches layers."""
    root = tmp_path_factory.mktemp("runs")
    for method, seed in (("ft", 1), ("ft", 2), ("kd", 1), ("kd", 2), ("pkd-skip", 1)):
        options = ["--student-layers=2", "--max-steps=6", "--eval-every=3", "--log-every=2", "--precision=float32"]
        words = ["train-student", "--cache", tiny.arrow, "--method", method, "--seed", seed, *options]
        made = CliRunner().invoke(main, [*map(str, words), "--out", str(root / f"{method}-{seed}")])
        assert made.exit_code == 0, made.stderr
    return SimpleNamespace(root=root, all=sorted(root.iterdir()))


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    """A report of all of them, and its directory."""
    out = tmp_path_factory.mktemp("reports") / "toy"
    made = CliRunner().invoke(main, ["report", *map(str, runs.all), "--out", str(out)])
    assert made.exit_code == 0, made.stderr
    return SimpleNamespace(out=out, json=json.loads(made.stdout), words=[*map(str, runs.all)])


def test_it_has_all_sections_in_both_forms(report, runs):
    page, text = Page(report.out / "index.html"), (report.out / "report.md").read_text()
    assert page.texts("section.h2") == SECTIONS
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert drawn(page) == [
        *("Score of each method", "Score and size", "Score while training", "Training loss"),
        *("Patience loss of PKD-Skip", "Reliability of the best student and of the teacher"),
    ]
    assert set(re.findall(r"\]\((.*?)\)", text)) == {path.name for path in report.out.glob("*.svg")}
    assert page.texts("section.div.table.tbody.tr.th")[:4] == ["FT", "KD", "PKD-Skip", "Teacher"]
    result = report.json
    assert (result["command"], result["task"], result["metric"]) == ("report", "toy", "accuracy")
    assert sorted(result["runs"]) == report.words and result["best"] in result["runs"]
    assert Path(result["page"]).is_file() and Path(result["markdown"]).is_file()
    assert result["score"] == max(
        json.loads((path / "run.json").read_text())["result"]["metrics"]["dev"]["accuracy"] for path in runs.all
    )


def test_disagreements_are_shown_with_text_label_and_both_answers(report, tiny):
    page = Page(report.out / "index.html")
    texts, answers = page.texts("article.p.bdi"), page.texts("article.dl.div.dt")
    rows = Path(tiny.rows["dev_file"]).read_text()
    assert all(text in rows for text in texts)
    assert answers == ["label", "student", "teacher"] * len(texts)


def test_the_order_of_runs_and_the_place_do_not_change_its_bytes(report, call, tmp_path):
    again = call("report", *reversed(report.words), report.words[0], "--out", tmp_path / "other")
    assert again.code == 0, again.error
    for path in report.out.iterdir():
        assert (tmp_path / "other" / path.name).read_bytes() == path.read_bytes(), path.name
    assert call("report", *report.words, "--out", tmp_path / "other").code == 0


def test_commands_of_the_report_repeat_its_trainings(report, call):
    page = Page(report.out / "index.html")
    lines = " ".join(page.texts("pre.code")).replace("python cli.py", "\npython cli.py").split("\n")
    training = next(line for line in lines if " --method kd " in line)
    again = call(*training.split()[2:])
    assert again.code == 0 and "is already this run, complete" in again.stderr


def test_a_run_that_cannot_be_reported_is_named(report, runs, tiny, call, tmp_path):
    out = tmp_path / "out"

    def error(*words):
        done = call("report", *words, "--out", out)
        assert done.code == 2 and not out.exists()
        return done.error

    assert error(tiny.teacher) == (
        f"Error: {tiny.teacher} is a run of finetune-teacher, and a report is about students. Name runs of "
        "train-student: their teacher is in their cache"
    )
    copy = shutil.copytree(runs.all[0], tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").rename(copy / "started.json")
    assert error(copy) == f"Error: {copy} is unfinished: run its command again with --resume"
    (copy / "run.json").write_text(json.dumps(record | {"cache": "data/gone"}))
    assert error(copy) == (
        f"Error: the cache of {copy} was data/gone, which does not exist. Name its present place with --cache"
    )
    other = error(copy, "--cache", tiny.float16)
    assert other.startswith(f"Error: --cache {tiny.float16}: this is not the cache of {copy} (identity ")
    (copy / "predictions.safetensors").unlink()
    assert error(copy).startswith(f"Error: {copy / 'predictions.safetensors'} could not be read (")


def test_a_cache_that_was_moved_is_named(runs, tiny, call, tmp_path):
    copy = shutil.copytree(runs.all[0], tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"cache": "data/gone"}))
    done = call("report", copy, "--cache", tiny.float16, "--cache", tiny.arrow, "--out", tmp_path / "out")
    assert done.code == 0, done.error


@pytest.mark.parametrize(
    ("field", "value"),
    [("metrics", "good"), ("metrics", {"dev": {"accuracy": None}}), ("method", "x"), ("parameters", [])],
)
def test_a_result_of_another_form_is_damaged(runs, tmp_path, field, value):
    copy = shutil.copytree(runs.all[0], tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    record["result"][field] = value
    (copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(BadRun, match=r"run.json is damaged \(.*\)\. Train the run again"):
        read_student(copy)


def test_finished_trials_of_a_sweep_are_reported(tiny, call, in_directory, monkeypatch):
    run_sweep(call, tiny, "grid", "sweeps/lr")
    done = call("report", "sweeps/lr")
    assert (done.code, done.json["out"], len(done.json["runs"])) == (0, "reports/lr", 3)
    text = Path(done.json["markdown"]).read_text()
    assert "- sweep lr: grid, 3 finished of 3 planned\n" in text
    assert "Several settings were tried (KD: 3)" in text and SweepDirectory(Path("sweeps/lr")).read().command in text
    assert "train-student --cache" not in text.partition("## Commands")[2]
