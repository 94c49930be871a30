"""Imports point one way: cli -> stages -> pipeline -> third-party, and inside pipeline down one list of folders."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.helpers.paths import ROOT

# Each folder of pipeline/ imports from those before it in this list, and from no other.
FOLDERS = "errors system pages config models data cache distillation training teacher inference".split()
COMPOSING = ["quickstart", "distill", "sweep", "report", "benchmarks"]  # compose the `run` of others, or read sweeps
FILES = [ROOT / "cli.py", *sorted((ROOT / "pipeline").rglob("*.py")), *sorted((ROOT / "stages").rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def imported(path) -> Iterator[str]:
    """Return every module that a file imports, at its top or anywhere else in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    modules = set(imported(path))
    layer, *rest = path.relative_to(ROOT).with_suffix("").parts
    tops = {module.split(".")[0] for module in modules}
    if layer == "pipeline":
        assert not tops & {"stages", "cli", "click"}
        below = FOLDERS[: FOLDERS.index(rest[0]) + 1] if rest[0] in FOLDERS else []
        assert {m.split(".")[1] for m in modules if m.startswith("pipeline.")} <= set(below)
    if layer == "stages":
        assert not tops & {"cli", "click"}
        if rest[0] not in COMPOSING:
            own = f"stages.{rest[0]}"
            assert not [m for m in modules if m.startswith("stages.") and m != own and not m.startswith(f"{own}.")]
    if layer == "cli":
        assert {m.split(".")[1] for m in modules if m.startswith("pipeline.")} <= {"errors", "config", "system"}


def test_folders_of_pipeline_are_all_in_the_list():
    found = {
        path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")
        for path in FILES[1:]
        if "pipeline" in path.parts
    }
    assert found - {"__init__"} == set(FOLDERS)


def test_no_circle_of_imports():
    graph = {module: set(imported(path)) & set(MODULES) - {module} for module, path in MODULES.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.process
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
            lines = [line for line in text.splitlines() if word in line and ".eval()" not in line]
            assert not lines, (path, lines)
