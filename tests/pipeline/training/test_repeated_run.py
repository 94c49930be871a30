"""Runs that are repeated from their run.json, as they were and with other options."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.config.training import TrainStudentConfig
from pipeline.errors import BadCache, BadRun
from pipeline.training.repeated_run import config_of_run
from stages import train_student
from tests.helpers.paths import ROOT
from tests.helpers.sweeps import run_sweep
from tests.helpers.transfer import with_transfer

SHORT = dict(max_steps=3, precision="float32", lr=1e-3)
OLD = ROOT / "tests" / "fixtures" / "version-0.1"


def train(cache, out, **options):
    return train_student.run(TrainStudentConfig(cache=str(cache), out=str(out), **SHORT | options))


def files(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def record(run) -> dict:
    return json.loads((Path(run) / "run.json").read_text())


@pytest.mark.parametrize(
    "options", [{"method": "kd", "alpha": 0.25, "seed": 3}, {"teacher_layers": "1"}, {"init_layers": "1,3"}]
)
def test_repeated_run_has_the_same_bytes(tiny, in_directory, call, options):
    first = train(tiny.arrow, "first", **options)
    there = call("train-student", "--from-run", "first")
    assert there.code == 0 and there.json["out"] == "first" and "first is already this run, complete" in there.stderr
    again = call("train-student", "--from-run", "first", "--out", "again")
    assert again.code == 0 and files(Path("again")) == files(Path("first"))
    assert again.json["metrics"] == first.metrics
    both = [record(name) for name in ("first", "again")]
    assert all(both[0][name] == both[1][name] for name in ("config", "inputs", "cache"))
    assert both[0]["config"].items() >= {k: v for k, v in options.items() if k != "teacher_layers"}.items()


def test_options_that_are_typed_win_even_with_their_default_values(tiny, in_directory, call):
    train(tiny.arrow, "first", method="kd", temperature=2.0, alpha=0.25)
    other = call("train-student", "--from-run", "first", "--temperature", 5, "--lr", 2e-3)
    config = record(other.json["out"])["config"]
    assert other.json["out"].startswith("runs/toy/kd-2-")
    assert (config["temperature"], config["alpha"], config["lr"], config["max_steps"]) == (5.0, 0.25, 2e-3, 3)


def test_options_that_follow_from_a_changed_one_are_not_taken_over(tiny, in_directory, call):
    train(tiny.arrow, "first", teacher_layers="1,3", student_layers=3)
    for words, expected in {
        ("--method", "pkd-last"): ("pkd-last", 3, [2, 3]),
        ("--student-layers", "2"): ("pkd-skip", 2, [2]),
        ("--init-layers", "2,4"): ("pkd-skip", 2, [2]),
        ("--method", "kd"): ("kd", 3, None),
        ("--seed", "1"): ("pkd-custom", 3, [1, 3]),
    }.items():
        done = call("train-student", "--from-run", "first", *words)
        config = record(done.json["out"])["config"]
        assert (config["method"], config["student_layers"], config["teacher_layers"]) == expected


def test_cache_that_moved_is_named(tiny, in_directory, call):
    shutil.copytree(tiny.arrow, "cache")
    train("cache", "first", method="kd")
    Path("cache").rename("moved")
    line = "the cache of this run was cache, which does not exist. Name its present place with --cache"
    assert call("train-student", "--from-run", "first").error == f"Error: {line}"
    assert call("train-student", "--from-run", "first", "--cache", "moved").json["out"] == "first"
    shutil.copytree(tiny.no_dropout, "cache")  # another teacher's
    assert "cache has the identity " in (refused := call("train-student", "--from-run", "first")).error
    assert refused.code == 2
    other = call("train-student", "--from-run", "first", "--cache", "cache")
    assert other.json["out"] != "first" and other.json["cache_identity"] != record("first")["inputs"]["cache"]


def test_joined_caches_are_read_again(tiny, in_directory, call):
    names = {"labelled": ("train", "dev"), "texts": ("transfer", "dev")}
    caches = tuple(str(with_transfer(tiny.arrow, Path(name), 2, splits=splits)) for name, splits in names.items())
    options = SHORT | {"method": "kd", "out": "first"}
    train_student.run(TrainStudentConfig(cache=caches, **options))
    assert call("train-student", "--from-run", "first").json["out"] == "first"
    swapped = [f"--cache={cache}" for cache in reversed(caches)]
    assert call("train-student", "--from-run", "first", *swapped).json["out"] == "first"  # the same rows


def test_trial_of_a_sweep_is_repeated(tiny, in_directory, call):
    run_sweep(call, tiny, "grid", "sweeps/one", space='method = "kd"\nprecision = "float32"\nmax_steps = 2\n')
    [trial] = [path.parent for path in Path().rglob("run.json")]
    assert call("train-student", "--from-run", trial).json["out"] == str(trial)


def test_options_that_are_not_defaults_win_in_python(tiny, in_directory):
    train(tiny.arrow, "first", method="kd", temperature=2.0)
    assert config_of_run("first").out == "first"
    config = config_of_run("first", temperature=5.0, seed=4)
    assert (config.out, config.temperature, config.seed, config.max_steps) == (None, 5.0, 4, 3)
    result = train_student.run(TrainStudentConfig(from_run="first", seed=4))
    again = record(result.out)["config"]
    assert (again["temperature"], again["seed"]) == (2.0, 4)
    with pytest.raises(TypeError):
        config_of_run("first", temprature=5.0)


def test_run_of_an_earlier_version_is_repeated(tmp_path, monkeypatch):
    shutil.copytree(OLD / "finished-run", tmp_path / "run")
    shutil.copytree(OLD / "cache", tmp_path / "data" / "toy")
    monkeypatch.chdir(tmp_path)
    assert train_student.run(TrainStudentConfig(from_run="run")).out == "run" == config_of_run("run").out


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"command": "finetune-teacher"}, "run is a run of finetune-teacher, and train-student repeats runs of "),
        ({"config": {"mood": 1}}, "run.json was written by a newer version of this program (it has the option mood). "),
        ({"config": {"lr": "x"}}, "run.json is damaged (lr is 'x'). Train the run again"),
        ({"config": {"lr": -1.0}}, "run.json is damaged (--lr must be a number above 0, not -1.0. Try --lr 5e-05). "),
        ({"config": {"epochs": True}}, "run.json is damaged (epochs is True). Train the run again"),
        ({"config": {"method": "magic"}}, "run.json is damaged (--method must be one of ft, pseudo, "),
        ({"cache": [1]}, "run.json is damaged (cache is 1). Train the run again"),
        ({"cache": None}, "run.json is damaged (there is no cache to train from. "),
        ({"inputs": {"cache": 3}}, "run.json is damaged (identity is 3). Train the run again"),
        ({"inputs": {}}, "run.json is damaged ('cache'). Train the run again"),
    ],
)
def test_run_that_cannot_be_repeated_is_one_line(tmp_path, change, line):
    shutil.copytree(OLD / "finished-run", tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(json.dumps(record(OLD / "finished-run") | change))
    with pytest.raises(BadRun) as error:
        config_of_run(tmp_path / "run", cache=str(OLD / "cache"))
    assert line in str(error.value) and "\n" not in str(error.value)


def test_run_without_record_is_one_line(tmp_path, call):
    assert call("train-student", "--from-run", tmp_path).error.startswith(f"Error: {tmp_path} is not a run directory")
    shutil.copytree(OLD / "half-finished-run", tmp_path / "half")
    unfinished = call("train-student", "--from-run", tmp_path / "half")
    assert unfinished.code == 2 and unfinished.error.endswith("half is unfinished: run its command again with --resume")
    shutil.copytree(OLD / "finished-run", tmp_path / "run")
    with pytest.raises(BadCache, match="the cache of this run was data/toy, which does not exist"):
        config_of_run(tmp_path / "run")
