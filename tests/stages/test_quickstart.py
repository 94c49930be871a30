import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.writer import CacheWriter
from pipeline.config.options import command_line
from pipeline.config.training import QuickstartConfig, TrainStudentConfig
from pipeline.data.rows import sources
from pipeline.data.tasks import find_task
from pipeline.models import checkpoints
from tests.helpers.encoders import save_pretrained_encoder

pytestmark = pytest.mark.trains


@dataclass
class Packaged:
    """The data and the model of the quickstart: how many sentences, and the parameters of the teacher."""

    sentences: int
    parameters: int


@pytest.fixture(params=["small", pytest.param("whole", marks=pytest.mark.soak)])
def packaged(request, monkeypatch, tmp_path_factory):
    """Every twentieth packaged sentence and a tiny encoder of as many layers as the packaged one; or all, and that."""
    step, parameters = (20, 0) if request.param == "small" else (1, 22_713_986)
    if request.param == "small":
        encoder = save_pretrained_encoder(tmp_path_factory.mktemp("demo") / "model", num_hidden_layers=6)
        monkeypatch.setattr(checkpoints, "package_directory", lambda *_: encoder.parent)
        parameters = AutoModelForSequenceClassification.from_pretrained(encoder).num_parameters()
    whole = sources._movie_reviews(find_task("movie-reviews"))
    splits = {
        name: sources.SplitRows((split.texts[0][::step],), split.labels[::step], True)
        for name, split in whole.splits.items()
    }
    monkeypatch.setattr(sources, "_movie_reviews", lambda _task: replace(whole, splits=splits))
    return Packaged(sum(map(len, splits.values())), parameters)


@pytest.mark.timeout(1200)
def test_quickstart(call, in_directory, packaged):
    """The whole method on real sentences; the second call does nothing again."""
    result = call("quickstart", "--labels", 20, "--examples", 100)
    assert result.code == 0, result.stderr
    rows = result.json["rows"]
    assert [row["model"] for row in rows] == ["teacher", "FT", "KD", "PKD-Skip", "PKD-Last"]
    assert [row["layers"] for row in rows] == [6, 3, 3, 3, 3]
    assert rows[0]["agreement"] == 1.0 and rows[0]["parameters"] == packaged.parameters
    assert [(row["labelled_examples"], row["unlabelled_examples"]) for row in rows] == [(20, 0)] * 2 + [(20, 100)] * 3
    assert all(0.3 < row["accuracy"] < 1 and row["inference_examples_per_second"] > 0 for row in rows)
    printed = [line for line in result.stderr.splitlines() if line.startswith("$ python cli.py ")]
    assert [line.split()[3] for line in printed] == [
        *("finetune-teacher", "cache-teacher"),
        *["train-student"] * 4,
        *["evaluate"] * 5,
        *("export", "report"),
    ]
    for line in printed:  # each of them can be typed, and finds its work done
        if line.split()[3] not in ("evaluate", "report"):
            typed = call(*shlex.split(line)[3:])
            assert typed.code == 0 and "complete" in typed.stderr
    out = Path(result.json["out"])
    assert (
        "| PKD-Skip | 3 | the teacher, on 120 sentences |" in (out / "table.md").read_text()
        and (out / "table.md").read_text() in result.stdout
    )
    assert Path("reports/quickstart-20-labels-100/index.html").is_file()
    [exported] = Path("exports").iterdir()
    assert {"model.safetensors", "README.md"} <= {path.name for path in exported.iterdir()}
    assert json.loads((out / "table.json").read_text())["rows"] == rows
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/run.json")}
    again = call("quickstart", "--labels", 20, "--examples", 100)
    assert again.json == result.json and "evaluate" not in again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/run.json")}
    killed_before_the_manifest(Path("data/quickstart-20-labels-100"))
    (out / "table.json").unlink()
    resumed = call("quickstart", "--labels", 20, "--examples", 100)  # makes no shard again: nobody timed the cache
    assert resumed.code == 0, resumed.stderr
    assert resumed.json["cache_seconds"] is None and f"{packaged.sentences:,} sentences and wrote" in resumed.stdout
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
    assert (QuickstartConfig().labels, QuickstartConfig().examples) == (256, 2500)
