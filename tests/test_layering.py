"""Imports point one way: cli -> stages -> pipeline -> third-party."""

import ast
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

COMPOSING = {"quickstart", "benchmark", "sweep"}  # stages that do nothing but compose other stages
FILES = [ROOT / "cli.py", *(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path):
    modules, layer = set(imported(path)), path.relative_to(ROOT).parts[0]
    tops = {module.split(".")[0] for module in modules}
    if layer == "pipeline":
        assert not tops & {"stages", "cli", "click"}
    if layer == "stages":
        assert not tops & {"cli", "click"}
        if path.stem not in COMPOSING and path.parent.name != "sweeps":  # which is a part of the sweep
            parts = ("stages.configs.", "pipeline.distillation.recipe", "stages.benchmarks", "stages.sweeps")
            assert (
                not {m for m in modules if m.startswith("stages")}
                - {"stages", "stages.configs"}
                - {m for m in modules if m.startswith(parts)}
            )
    if layer == "cli.py":
        assert {m for m in modules if m.startswith("pipeline")} <= {
            *("pipeline.errors", "pipeline.errors.DistillError", "pipeline.errors.Interrupted"),
            *("pipeline.config.options", "pipeline.config.options.option_name", "pipeline.config.options.value_type"),
        }


@pytest.mark.parametrize(
    "words", [["--help"], ["train-student", "--help"], ["train-student", "--cache", "x", "--lr=-1"]]
)
def test_help_and_wrong_options_do_not_import_torch(words):
    code = (
        "import sys, cli\n"
        f"try: cli.main({words!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pyarrow', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_nothing_unpickles_or_runs_remote_code():
    for path in FILES:
        text = path.read_text()
        for word in ("torch.load", "pickle", "trust_remote_code=True", "eval(", "exec("):
            found = [line for line in text.splitlines() if word in line and ".eval()" not in line]
            assert not found, (path, found)
