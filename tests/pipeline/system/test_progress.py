"""Bars, notes and tables, and the switch that turns them off."""

import ast
import os
import sys
import threading

import pytest

from pipeline.system.progress import QUIET, bar, is_quiet, note, quiet, refreshes_in_place, show
from tests.helpers.paths import ROOT


def everything() -> None:
    note("a note")
    show("a table")
    with bar(10, "work", "ex") as progress:
        progress.update(10)


def test_nothing_is_shown_while_quiet(capfd):
    with quiet():
        everything()
        thread = threading.Thread(target=everything)
        thread.start()
        thread.join()
    assert capfd.readouterr() == ("", "")
    everything()
    out, err = capfd.readouterr()
    assert out == "a table\n" and err.startswith("a note\n") and "work: 100%" in err


def test_blocks_may_be_nested_and_end_in_any_order(monkeypatch):
    monkeypatch.delenv(QUIET, raising=False)
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert is_quiet()
    second.__exit__(None, None, None)
    assert not is_quiet() and QUIET not in os.environ


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_variable_of_the_environment_switches_commands(monkeypatch, value, expected):
    monkeypatch.setenv(QUIET, value)
    assert is_quiet() is expected
    with quiet():
        assert is_quiet()
    assert os.environ[QUIET] == value


def test_bars_refresh_in_notebooks_too(monkeypatch):
    class OutStream:
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stderr", OutStream())
    assert not refreshes_in_place()
    OutStream.__module__ = "ipykernel.iostream"
    assert refreshes_in_place()


def is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stderr.write")


def test_everything_is_shown_through_this_module():
    exempt = {ROOT / "pipeline/system/progress.py", ROOT / "stages/doctor/run.py"}  # doctor works without tqdm too
    for path in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]:
        calls = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if is_print(node)]
        assert path in exempt or not calls, (path, "call show or note of pipeline/system/progress.py", calls)
