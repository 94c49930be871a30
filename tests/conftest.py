"""A real tiny encoder, real rows and real caches, made once a session."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: tiny models are slower on two threads, and tests run side by side
os.environ["PKD_STORE"] = tempfile.mkdtemp(prefix="pkd-store-")  # what tests remember is not the user's

from click.testing import CliRunner

from cli import main
from pipeline.config.training import CacheTeacherConfig, FinetuneTeacherConfig
from stages import cache_teacher, finetune_teacher
from tests.helpers.children import FIXTURES, children_started, watch_children
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.engine import in_this_process
from tests.helpers.processes import kill_running
from tests.helpers.rows import write_rows


def pytest_configure() -> None:
    """Under nohup the children of these tests would ignore Ctrl-C, as this process does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    watch_children()


def pytest_collection_modifyitems(items) -> None:
    """Mark what uses a server, a cluster or trained models; put those that start processes first; leave out the soak.

    The long tests are among those that start processes: none of them is left for the end, when one worker has no
    more work. Tests of a module stay together, for the sake of its fixtures.
    """
    for item in items:
        if FIXTURES & set(item.fixturenames) and not item.get_closest_marker("process"):
            item.add_marker("process")
        if "tiny" in item.fixturenames:
            item.add_marker("trains")
        if os.environ.get("PKD_SOAK") != "1" and item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="in the long form only: make soak"))
    items.sort(key=lambda item: not item.get_closest_marker("process"))


@pytest.fixture(autouse=True)
def children(request, monkeypatch) -> Iterator[None]:
    """Hold the marker `process`: a test without it starts no child, and its sweeps train in this process."""
    if request.node.get_closest_marker("process"):
        yield
        kill_running()
        return
    monkeypatch.setattr("stages.sweep.run.local_engine", in_this_process)
    with children_started() as started:
        yield
    assert not started, "this test starts child processes: mark it with @pytest.mark.process"


@pytest.fixture
def trials_in_this_process(monkeypatch) -> None:
    """For a test with the marker `process`: its own sweeps need none."""
    monkeypatch.setattr("stages.sweep.run.local_engine", in_this_process)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A real Ray cluster of two nodes."""
    from tests.helpers.clusters import two_nodes

    with two_nodes() as nodes:
        yield nodes


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> SimpleNamespace:
    """Paths of a tiny pre-trained BERT, own rows, a float32 teacher, and its caches: float32 in both containers,
    float16, and of the same teacher without dropout.

    `rows` are the options that name the rows.
    """
    root = tmp_path_factory.mktemp("tiny")
    encoder = save_pretrained_encoder(root / "encoder")
    rows = {
        "task": "toy",
        "train_file": str(write_rows(root / "train.csv", 300, 1)),
        "dev_file": str(write_rows(root / "dev.csv", 90, 2)),
        "test_file": str(write_rows(root / "test.csv", 40, 3)),
        "text_columns": "text",
        "label_column": "label",
    }
    finetune_teacher.run(
        FinetuneTeacherConfig(
            **rows, model=str(encoder), out=str(root / "teacher"), epochs=8, lr=5e-3, precision="float32"
        )
    )
    made = SimpleNamespace(root=root, encoder=encoder, rows=rows, teacher=root / "teacher")
    without_dropout = shutil.copytree(made.teacher / "model", root / "without-dropout")
    config = json.loads((without_dropout / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (without_dropout / "config.json").write_text(json.dumps(config))
    for name, options in {
        "no_dropout": {"teacher": str(without_dropout)},
        "arrow": {"format": "arrow"},
        "hdf5": {"format": "hdf5"},
        "float16": {"dtype": "float16"},
    }.items():
        defaults = {"teacher": str(made.teacher), "dtype": "float32", "precision": "float32", "shard_rows": 64}
        cache_teacher.run(CacheTeacherConfig(**rows | defaults | options, cache=str(root / name)))
        setattr(made, name, root / name)
    return made


@pytest.fixture
def call():
    """Run a command line in this process: `.code`, `.json` (last line of stdout), `.error` (last line of stderr)."""

    def run(*words: object) -> SimpleNamespace:
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        out, err = result.stdout.strip().splitlines(), result.stderr.strip().splitlines()
        last = json.loads(out[-1]) if result.exit_code == 0 and out and out[-1].startswith("{") else None
        return SimpleNamespace(
            code=result.exit_code, json=last, stdout=result.stdout, stderr=result.stderr, error=err[-1] if err else ""
        )

    return run


@pytest.fixture
def in_directory(tmp_path, monkeypatch) -> Path:
    """A new empty directory as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
