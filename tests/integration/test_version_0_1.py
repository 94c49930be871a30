"""Files written by version 0.1: its caches open, its runs are recognised, and its checkpoints go on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.cache.format.manifest import TaskRecord
from pipeline.cache.open import open_cache
from pipeline.config.training import TrainStudentConfig
from pipeline.distillation.recipe import resolve_recipe
from pipeline.training.run_reader import read_predictions, read_run
from tests.helpers.paths import ROOT
from tests.helpers.repeated import repeated

VERSION = ROOT / "tests" / "fixtures" / "version-0.1"
RUN = Path("runs/toy/pkd-skip-2-eb1e4de9")
OPTIONS = ("--precision", "float32", "--epochs", 2, "--batch-size", 8, "--log-every", 2, "--student-layers", 2)
# to run.json since: a run predicts alone, and has a card
ADDED = (
    *("task", "kind", "labels", "text_columns", "max_length"),
    *("settings", "dev_examples", "intervals", "teacher"),
)
RECIPES = json.loads((VERSION / "recipes.json").read_text())


@pytest.fixture
def workplace(in_directory):
    """A working directory as version 0.1 left it: a cache and a run that stopped at step 7 of 16."""
    shutil.copytree(VERSION / "cache", in_directory / "data" / "toy")
    shutil.copytree(VERSION / "half-finished-run", in_directory / RUN)
    return in_directory


def test_half_finished_run_resumes_to_the_same_student(workplace, call):
    done = call("train-student", "--cache", "data/toy", *OPTIONS, "--resume")
    assert done.code == 0 and done.json["out"] == str(RUN)
    assert "going on from step 7 of 16" in done.stderr
    expected = read_predictions(VERSION / "finished-run")
    resumed = read_predictions(RUN)
    assert resumed.keys() == expected.keys() == {"dev"}
    np.testing.assert_allclose(resumed["dev"], expected["dev"], atol=1e-5)
    logs = [[json.loads(line) for line in (run / "log.jsonl").open()] for run in (RUN, VERSION / "finished-run")]
    now, then = ([(line["kind"], line["step"], [*line]) for line in log] for log in logs)
    assert now == then


def test_finished_run_is_recognised_and_its_record_has_the_same_keys(workplace, call):
    shutil.rmtree(RUN)
    shutil.copytree(VERSION / "finished-run", RUN)
    again = call("train-student", "--cache", "data/toy", *OPTIONS)
    assert again.code == 0 and "is already this run, complete" in again.stderr
    assert repeated(call("evaluate", RUN).json["metrics"], again.json["metrics"]) == again.json["metrics"]
    shutil.rmtree(RUN)
    assert call("train-student", "--cache", "data/toy", *OPTIONS).code == 0
    new, old = read_run(RUN), read_run(VERSION / "finished-run")
    assert [key for key in new if key not in ADDED] == [*old] and all(
        [*new[key]] == [*old[key]] for key in ("config", "inputs", "environment")
    )
    assert [*new["result"]][: len(old["result"])] == [*old["result"]]  # what later versions add comes after it


def test_cache_verifies_and_manifest_is_written_with_the_same_bytes(workplace, call):
    assert call("cache", "verify", "data/toy", "--sample", 5).code == 0
    assert open_cache("data/toy").manifest.text() == (VERSION / "cache" / "manifest.json").read_text()


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_recipe_and_default_directory_are_those_of_version_0_1(number):
    case = RECIPES[number]
    manifest = open_cache(VERSION / "cache").manifest
    config = TrainStudentConfig(**{"cache": "data/toy", "precision": "float32"} | case["options"])
    if case["task"] == "stsb":  # of the same identity, as in the recipes that were kept
        fields = replace(manifest.fields, kind="regression")
        manifest = replace(manifest, fields=fields, task=TaskRecord("stsb", (), ("pearson", "spearman")))
    recipe = resolve_recipe(config, manifest).starting_from({"cache": case["identity"]})
    assert recipe.options == case["recipe"]
    assert recipe.default_out(case["task"]) == case["out"]
