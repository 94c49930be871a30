"""Ctrl-C and SIGTERM at awkward moments: in an import, in a finalizer, before a command has started."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.system.interrupts import StopRequest, Terminated, signals_raise
from tests.helpers.paths import CLI, ROOT

MODULE = "import os, signal\nos.kill(os.getpid(), signal.{})\nfor _ in range(10000): pass\ncomplete = True\n"
BOTH = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


def wait_for_signal():
    for _ in range(400):
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "kind"), BOTH)
def test_an_import_is_completed_before_a_signal_is_raised(tmp_path, monkeypatch, number, kind):
    name = f"slow_{number.name.lower()}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(number.name))
    monkeypatch.syspath_prepend(tmp_path)
    request = StopRequest()
    with pytest.raises(kind), signals_raise(request):
        module = __import__(name)
        assert module.complete and request.number == 0
        wait_for_signal()
    assert request.number == number


class Finalized:
    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)
        for _ in range(10000):
            pass


@pytest.mark.parametrize(("number", "kind"), BOTH)
def test_a_signal_that_a_finalizer_drops_comes_again(number, kind):
    before = [signal.getsignal(number) for number, _ in BOTH]
    with pytest.raises(kind), signals_raise(StopRequest()):
        Finalized(number)
        wait_for_signal()
    assert [signal.getsignal(number) for number, _ in BOTH] == before


@pytest.mark.process
@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGINT, "Error: stopped. Run the same command again\n"),
        (signal.SIGTERM, "Error: stopped by SIGTERM. Run the same command again\n"),
    ],
)
def test_a_signal_before_a_command_has_begun(number, line):
    code = f"""
import sys; sys.argv = ["cli.py"]
import pipeline.system.startup, os
assert "click" not in sys.modules and "pathlib" not in sys.modules
os.kill(os.getpid(), {int(number)})
for _ in range(10000): pass
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (128 + number, line)


def test_nothing_is_imported_before_the_handlers_of_signals():
    first = next(
        node for node in ast.parse(Path(CLI).read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
    )
    assert ast.unparse(first) == "import pipeline.system.startup"
