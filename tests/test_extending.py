"""The recipes of docs/extending.md, each followed in a copy of the program."""

import importlib
import json
import os
import re
import shutil
import sys

import pytest

from pipeline.cache.open import open_cache
from tests.helpers.paths import ROOT
from tests.helpers.processes import start_function
from tests.helpers.rows import WORDS

pytestmark = pytest.mark.process

PAGE = (ROOT / "docs" / "extending.md").read_text()
RECIPES = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
END = "--- end of a command ---\n"
MOST_FILES = {"A loss term": 3, "A kind of task": 6}


def named_files(recipe: str) -> set[str]:
    line = re.search(r"^Files: (.+?)\.\n\n", recipe, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`]+)`", line[1]))


def follow(recipe: str, root) -> set[str]:
    """Make the changes of a recipe below `root`; return the files that were touched."""
    touched = set()
    for kind, block in re.findall(r"^```(diff|python)\n(.*?)^```", recipe, re.MULTILINE | re.DOTALL):
        first, _, body = block.partition("\n")
        path = root / first.removeprefix("--- ").removeprefix("# ")
        touched.add(str(path.relative_to(root)))
        if kind == "python":
            assert not path.exists()
            path.write_text(body)
            continue
        lines = body.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        old, new = (old.rstrip("\n"), new.rstrip("\n")) if not path.read_text().count(old) else (old, new)
        assert path.read_text().count(old) == 1, f"{path} does not have once:\n{old}"
        path.write_text(path.read_text().replace(old, new))
    return touched


def run_copy(root: str, commands: list[list[str]]) -> None:
    """Run commands of the program in `root`, in a process that may have imported this one."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("cli", "pipeline", "stages")]:
        del sys.modules[name]
    os.environ["PYTHONPATH"] = root
    os.chdir(root)
    sys.path.insert(0, root)
    cli = importlib.import_module("cli")
    assert cli.__file__ == f"{root}/cli.py"
    for words in commands:
        cli.main(words, standalone_mode=False)
        print(END, end="", flush=True)


@pytest.fixture
def followed(request, tmp_path):
    """A copy of the program after the recipe of the test, and a function that runs its command line there."""
    recipe = RECIPES[request.param]
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cli.py", tmp_path)
    touched = follow(recipe, tmp_path)
    assert touched == named_files(recipe) and len(touched) <= MOST_FILES.get(request.param, 4)

    def run(*commands: tuple) -> list[dict]:
        process = start_function(run_copy, str(tmp_path), [[str(word) for word in command] for command in commands])
        stdout, stderr = process.communicate(timeout=240)
        assert process.returncode == 0, stderr[-2000:]
        return [json.loads(part.splitlines()[-1]) for part in stdout.split(END)[:-1]]

    return tmp_path, run


def write_tsv(directory, header: str, row) -> None:
    directory.mkdir()
    for name in ("train", "dev"):
        (directory / f"{name}.tsv").write_text("\n".join([header, *map(row, range(40))]) + "\n")


def with_cache(task: str, data: str, tiny, *more: tuple) -> list[tuple]:
    """Commands that fine-tune a teacher, cache it and train a student, two steps each, and `more`."""
    short = ("--max-steps", 2, "--precision", "float32")
    rows = ("--task", task, "--data-dir", data)
    return [
        ("finetune-teacher", *rows, "--model", tiny.encoder, *short),
        ("cache-teacher", *rows, "--allow-weak-teacher", "--precision", "float32"),
        ("train-student", "--cache", f"data/{task}", "--method", "kd", *short),
        *more,
    ]


@pytest.mark.parametrize("followed", ["A task"], indirect=True)
def test_recipe_of_a_task_reads_its_files(followed, tiny):
    root, run = followed
    write_tsv(
        root / "BoolQ", "question\tpassage\tlabel", lambda i: f"was it good\tthe film was {WORDS[i % 20]}\t{i % 2}"
    )
    *_, student = run(*with_cache("boolq", "BoolQ", tiny))
    assert "accuracy" in student["metrics"]["dev"]


@pytest.mark.parametrize("followed", ["A kind of task"], indirect=True)
def test_recipe_of_a_task_kind_trains_and_records_the_kind(followed, tiny):
    root, run = followed
    write_tsv(root / "retweets", "text\tcount", lambda i: f"the film {'good ' * (i % 5)}\t{i % 5}")
    probes = ("cache", "info", "data/retweets", "--probe-examples", 20)
    *_, student, info = run(*with_cache("retweets", "retweets", tiny, probes))
    assert "spearman" in student["metrics"]["dev"] and info["probes"]["metric"] == "spearman"
    assert json.loads((root / "data" / "retweets" / "manifest.json").read_text())["fields"]["kind"] == "count"


@pytest.mark.parametrize("followed", ["A loss term"], indirect=True)
def test_recipe_of_a_loss_term_trains_alone_and_packed(followed, tiny):
    root, run = followed
    (root / "space.toml").write_text(
        'method = "cls-mse"\ngamma = [0.5, 2.0]\nstudent_layers = 3\nepochs = 1.0\nprecision = "float32"\n'
        'select = "last"\n'
    )
    options = ("--student-layers", 3, "--epochs", 1, "--precision", "float32", "--log-every", 1, "--select", "last")
    method = ("--method", "cls-mse", "--gamma", 0.5, "--out", "runs/alone")
    alone, _ = run(
        ("train-student", "--cache", tiny.no_dropout, *method, *options),
        ("sweep", "--cache", tiny.no_dropout, "--space", "space.toml", "--strategy", "grid", "--pack", 2),
    )
    lines = [json.loads(line) for line in (root / "runs" / "alone" / "log.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    assert len(train) == 10 and list(train[0]["cls_mse_by_layer"]) == ["1", "2"]
    terms = train[-1]
    assert terms["loss"] == pytest.approx(0.5 * terms["ce"] + 0.5 * terms["kd"] + 0.5 * terms["cls_mse"], rel=1e-4)
    recipe = json.loads((root / "runs" / "alone" / "run.json").read_text())["config"]
    assert recipe["gamma"] == 0.5 and recipe["beta"] is None
    packed = [json.loads(path.read_text()) for path in (root / "runs" / "toy").glob("*/run.json")]
    assert sorted(record["config"]["gamma"] for record in packed) == [0.5, 2.0]
    twin = next(record for record in packed if record["config"]["gamma"] == 0.5)
    assert twin["result"]["metrics"] == alone["metrics"]


@pytest.mark.parametrize("followed", ["A container"], indirect=True)
def test_recipe_of_a_container_holds_the_same_content(followed, tiny):
    root, run = followed
    copy, verified = run(
        ("cache", "convert", tiny.arrow, "data/copy", "--format", "safetensors"), ("cache", "verify", "data/copy")
    )
    assert list((root / "data" / "copy" / "train").glob("*.safetensors"))
    assert copy["content"] == open_cache(tiny.arrow).manifest.content and verified["out"] == "data/copy"


@pytest.mark.parametrize("followed", ["A sweep strategy"], indirect=True)
def test_recipe_of_a_strategy_lists_its_trials(followed, tiny):
    root, run = followed
    (root / "space.toml").write_text('method = "kd"\nalpha = [0.2, 0.5, 0.7]\nmax_steps = 2\nprecision = "float32"\n')
    words = ("--space", "space.toml", "--strategy", "random", "--trials", 2, "--dry-run")
    (estimate,) = run(("sweep", "--cache", tiny.arrow, *words))
    assert estimate["trials"] == 2


def test_every_recipe_is_followed_by_a_test():
    assert set(RECIPES) == {"A task", "A kind of task", "A loss term", "A container", "A sweep strategy"}
