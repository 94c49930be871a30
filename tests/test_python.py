"""The Python API: docs/python.md runs as it stands, and importing it changes nothing in the process."""

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from cli import main
from pipeline.config.options import Options
from stages.sweep.search.orchestrate import SweepResult
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.own_tokenizer import save_foreign_encoder
from tests.helpers.paths import ROOT
from tests.helpers.rows import write_rows

PAGE = ROOT / "docs" / "python.md"
SHORT = 'max_steps=2, precision="float32", '
# What the page names -> what there is in the tests.
STAND_INS = {
    "bert-base-uncased": "encoder",
    "microsoft/mpnet-base": "foreign",
    "FinetuneTeacherConfig(": f"FinetuneTeacherConfig({SHORT}",
    "CacheTeacherConfig(": 'CacheTeacherConfig(allow_weak_teacher=True, precision="float32", ',
    "TrainStudentConfig(": f"TrainStudentConfig({SHORT}",
    "EvaluateConfig(": 'EvaluateConfig(precision="float32", ',
    "num_workers=2": "num_workers=0",  # tests/pipeline/cache/test_torch_dataset.py has workers
    '"none")': '"none", use_cpu=True, disable_tqdm=True)',
}


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def replaced(text: str) -> str:
    for old, new in STAND_INS.items():
        text = text.replace(old, new)
    return text


@pytest.mark.trains
def test_every_block_of_the_page_runs(in_directory, capfd):
    for name, seed in (("train", 1), ("dev", 2)):
        write_rows(in_directory / f"{name}.csv", 48, seed)
    save_pretrained_encoder(in_directory / "encoder")
    save_foreign_encoder(in_directory / "foreign")
    text = "".join(blocks())
    assert [old for old in STAND_INS if old not in text] == []
    names: dict = {}
    for block in blocks():
        silent = "with quiet()" in block
        capfd.readouterr()
        exec(compile(replaced(block), str(PAGE), "exec"), names)
        assert not silent or capfd.readouterr() == ("", "")
    assert names["student"].out.startswith("runs/reviews/kd-2-") and names["thread"].is_alive() is False
    assert names["table"].num_rows == 48 and names["own"][0]["input_ids"][0] == 0


def test_trainer_takes_less_than_twenty_lines():
    [block] = [block for block in blocks() if "class PkdTrainer" in block]
    ast.parse(block)
    assert len([line for line in block.splitlines() if line.strip()]) < 20


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, groups that run without one of their commands included."""
    if not isinstance(command, click.Group) or (path and command.invoke_without_command):
        yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from leaves(child, (*path, name))


@pytest.mark.parametrize("words", [words for words, _ in leaves(main)], ids=" ".join)
def test_module_of_a_command_has_its_options_and_run(words):
    path = ["benchmarks" if words == ("benchmark",) else word.replace("-", "_") for word in words]
    stage = importlib.import_module(".".join(("stages", *path)))
    if not hasattr(stage, "run") or inspect.ismodule(stage.run):  # a folder
        stage = importlib.import_module(f"{stage.__name__}.run")
    configs = [value for value in vars(stage).values() if isinstance(value, type) and issubclass(value, Options)]
    [parameter] = stage.run.__annotations__.keys() - {"return"}
    assert stage.run.__annotations__[parameter] in configs
    result = stage.run.__annotations__["return"]
    assert isinstance(result, str) or (dataclasses.is_dataclass(result) and result.__dataclass_params__.frozen)


def test_results_have_the_fields_of_the_page():
    rows = re.findall(r"^\| `(stages\.[\w.]+)` \| `(\w+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 5
    for module, config, text in rows:
        stage = importlib.import_module(module)
        result = SweepResult if module == "stages.sweep.run" else stage.run.__annotations__["return"]
        names = set(re.findall(r"`(\w+)`", text))
        assert hasattr(stage, config) and names <= {field.name for field in dataclasses.fields(result)}, module


@pytest.mark.process
def test_import_changes_no_handler_and_no_variable():
    code = (
        "import os, signal, pkgutil, importlib\n"
        "numbers = signal.valid_signals()\n"
        "before = dict(os.environ), [signal.getsignal(n) for n in numbers]\n"
        "import stages.train_student, stages.cache_teacher, stages.evaluate, stages.sweep.run, pipeline.cache.open\n"
        "import pipeline.cache.torch_dataset, pipeline.system.progress\n"
        "after = dict(os.environ), [signal.getsignal(n) for n in numbers]\n"
        "assert before == after, {k for k in after[0] if before[0].get(k) != after[0][k]}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
