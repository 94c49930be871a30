"""A real tiny encoder, real rows and real caches, made once a session."""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: tiny models are slower on two threads, and tests run side by side
os.environ["PKD_STORE"] = tempfile.mkdtemp(prefix="pkd-store-")  # what tests remember is not the user's

from click.testing import CliRunner

from cli import main
from pipeline.config.training import CacheTeacherConfig, FinetuneTeacherConfig
from stages import cache_teacher, finetune_teacher
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.rows import write_rows

LONGEST = [
    f"test_{name}.py"
    for name in "quickstart sweep kills ray_engine fuzz push_pull stops advance_pack reader compare regret".split()
]


def pytest_configure() -> None:
    """Under nohup the children of these tests would ignore Ctrl-C, as this process does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items) -> None:
    """The longest files first, so that no process is left alone with one at the end; some in `make soak` alone."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    if os.environ.get("PKD_SOAK") != "1":
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="in the long form only: make soak"))


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
