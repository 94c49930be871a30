import json
import shlex
from pathlib import Path

import pytest

from pipeline.errors import Interrupted
from stages.distill import run as distill
from tests.helpers.processes import start_cli
from tests.helpers.rows import write_rows
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.trains

SMALL = ("--max-steps", 2, "--epochs", 1, "--precision", "float32", "--allow-weak-teacher", "--format", "safetensors")
STEPS = ("sweep", "evaluate", "export", "report")
FILES = ("train_file", "dev_file", "test_file")


def rows(tiny, *left_out):
    """The words that name the tiny rows."""
    words = {"--text-columns": "text", "--label-column": "label", "--task": "toy"}
    words |= {f"--{name.replace('_', '-')}": tiny.rows[name] for name in FILES if name not in left_out}
    return [word for pair in words.items() for word in pair]


def commands(lines):
    return [shlex.split(line)[2] for line in lines]


def modified():
    return {path: path.stat().st_mtime_ns for path in Path().rglob("run.json")}


def test_distill_goes_from_rows_to_the_best_student(tiny, in_directory, call):
    words = ["distill", *rows(tiny), "--model", tiny.encoder, "--trials", 3, *SMALL]
    result = call(*words)
    assert result.code == 0, result.stderr
    made = result.json
    assert commands(made["steps"]) == [*("finetune-teacher", "cache-teacher"), *STEPS]
    assert [line[2:] for line in result.stderr.splitlines() if line.startswith("$ ")] == made["steps"]
    assert made["student_layers"] == 2 and made["latency_ms"] > 0 and made["teacher"] == "runs/toy/teacher"
    assert set(made["metrics"]) == {"dev", "test"} == set(made["teacher_metrics"]) - {"train"}
    assert [row["layers"] for row in made["models"]] == [4, 2, 2, 2]
    assert {row["model"] for row in made["models"][1:]} == {"FT", "KD", "PKD-Skip"}
    winner = made["models"][1]
    assert made["winner"] == winner["out"] and winner["score"] == max(row["score"] for row in made["models"][1:])
    assert winner["test_score"] == made["metrics"]["test"]["accuracy"]
    assert made["models"][0]["test_score"] == made["teacher_metrics"]["test"]["accuracy"]
    assert Path(made["export"], "model.safetensors").is_file() and Path(made["report"]).name == "index.html"
    assert made["models"][1]["out"].split("/")[-1] in Path(made["report"]).read_text()
    assert f"The best of 3 by accuracy on dev: {made['winner']}" in result.stdout
    low, high = made["intervals"]["test"]["accuracy"]
    assert low <= winner["test_score"] <= high and set(made["intervals"]) == {"test"}
    [table] = Path("runs/toy").glob("distill-2-*.md")
    assert table.read_text() in result.stdout

    before = modified()
    again = call(*words)
    assert again.json | {"seconds": 0} == made | {"seconds": 0} and modified() == before
    assert "$ python cli.py evaluate" not in again.stderr
    for line in made["steps"]:  # each can be typed, and finds its work done
        assert call(*shlex.split(line)[2:]).code == 0
    assert modified() == before


def test_distill_goes_on_after_it_was_stopped(tiny, in_directory, call, monkeypatch):
    words = ["distill", *rows(tiny), "--teacher", tiny.teacher, "--out", "all", "--trials", 1, *SMALL]

    def stopped(config):
        raise Interrupted("stopped; running trials have checkpoints. Run the same command to go on", 2)

    with monkeypatch.context() as patch:
        patch.setattr(distill.sweep, "run", stopped)
        result = call(*words)
    assert result.code == 130 and result.error.endswith("Run the same command to go on")
    result = call(*words)
    assert result.code == 0, result.stderr
    assert "all/data/toy is already this cache, complete" in result.stderr
    assert commands(result.json["steps"]) == ["cache-teacher", *STEPS]
    places = [result.json[name] for name in ("cache", "sweep", "winner", "export", "report")]
    assert all(place.startswith("all/") for place in places) and result.json["out"] == "all"
    assert {path.name for path in in_directory.iterdir()} == {"all"}


def test_rows_without_labels_are_learned_from_the_teacher_alone(tiny, in_directory, call):
    sentences = write_rows(in_directory / "sentences.csv", 40, 9)
    words = [*rows(tiny, "test_file"), "--teacher", tiny.teacher, "--unlabelled-file", sentences]
    result = call("distill", *words, "--trials", 2, "--student-layers", 1, *SMALL)
    assert result.code == 0, result.stderr
    runs = [json.loads((Path(row["out"]) / "run.json").read_text()) for row in result.json["models"][1:]]
    by_method = {run["config"]["method"]: run for run in runs}
    assert by_method["kd"]["config"]["alpha"] == 1 and by_method["kd"]["result"]["unlabelled_examples"] == 40
    assert by_method["kd"]["config"]["student_layers"] == 1
    assert "Measure it anew with --test-file" in result.stdout and set(result.json["metrics"]) == {"dev"}


def test_budget_decides_the_depth(tiny, in_directory, call):
    words = ["distill", *rows(tiny), "--teacher", tiny.teacher, "--trials", 1, *SMALL]
    refused = call(*words, "--budget-ms", 1e-6)
    assert refused.code == 2 and "--budget-ms 1e-06 cannot be met: the fastest student, of " in refused.error
    latency = Path("runs/toy/latency.json")
    record = json.loads(latency.read_text())
    assert list(record["milliseconds"]) == ["1", "2", "3", "4"]
    latency.write_text(json.dumps(record | {"milliseconds": {"1": 1.0, "2": 2.0, "3": 3.0, "4": 4.0}}))
    result = call(*words, "--budget-ms", 3.5)
    assert result.code == 0, result.stderr
    assert (result.json["student_layers"], result.json["latency_ms"]) == (3, 3.0)
    assert "--budget-ms 3.5: 3 of 4 layers, which take 3.0 ms (one example of" in result.stderr


@pytest.mark.parametrize(
    "change, error",
    [
        (
            ["--student-layers", 9],
            "--student-layers 9: the teacher has 4 layers. Give at most --student-layers 4",
        ),
        (["--text-columns", "txt"], "train.csv: has no column 'txt'"),
        (["--teacher", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(change, error, tiny, in_directory, call):
    words = ["distill", *rows(tiny), *(() if "--teacher" in change else ("--teacher", tiny.teacher)), *SMALL]
    result = call(*words, *change)
    assert result.code == 2 and error in result.error
    assert not any(in_directory.iterdir())


def test_rows_without_dev_rows_are_refused(tiny, in_directory, call):
    result = call("distill", *rows(tiny, "dev_file", "test_file"), "--teacher", tiny.teacher, *SMALL)
    assert result.code == 2 and result.error == (
        "Error: there are no labelled dev rows to choose the best student by. Give --dev-file, or --dev-fraction 0.1 "
        "for a part of the training rows"
    )
    assert not any(in_directory.iterdir())


@pytest.mark.process
def test_distill_that_is_killed_goes_on(tiny, in_directory, call, trials_in_this_process):
    words = ["distill", *rows(tiny), "--teacher", tiny.teacher, "--trials", 1, *SMALL]
    process = start_cli(*words)
    assert wait_until(lambda: Path("data/toy/manifest.json").is_file(), process=process)
    process.kill()
    process.wait()
    cached = Path("data/toy/manifest.json").stat().st_mtime_ns
    result = call(*words)
    assert result.code == 0, result.stderr
    assert Path("data/toy/manifest.json").stat().st_mtime_ns == cached
    assert not [path for path in in_directory.rglob("*.tmp")]
