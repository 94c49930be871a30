"""Commands as real processes that start within a moment.

Importing torch takes seconds, so a server imports it once per test process and each command is a fork of that server:
a process of its own, with its own signals, exit code and children. Use `subprocess` where the start itself is tested.
"""

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from tests.helpers.paths import CLI, ROOT

_context = multiprocessing.get_context("forkserver")
_spawn = multiprocessing.util.spawnv_passfds  # type: ignore[attr-defined]
_running: "list[Command]" = []


class Command:
    """A running process, with the part of the interface of `subprocess.Popen` that tests use."""

    def __init__(self, target: Callable[..., None], args: tuple, program: list[str]):
        _start_server()
        self.args = program
        self._output = Path(tempfile.mkdtemp(prefix="pkd-command-"))
        streams = tuple(self._output / name for name in ("stdout", "stderr"))
        for stream in streams:
            stream.touch()
        call = (os.getcwd(), dict(os.environ), streams, program, target, args)
        self._process = _context.Process(target=_run, args=call, daemon=True)  # a daemon ends with the test process
        self._process.start()
        self.pid = self._process.pid or 0
        _running.append(self)

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the number of the signal that ended the process; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end. Return what the process wrote to stdout and stderr."""
        self.wait(timeout)
        return (self._output / "stdout").read_text(), (self._output / "stderr").read_text()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start_cli(*words: object) -> Command:
    """Start `python cli.py WORDS` in the current directory, with the current environment."""
    return Command(runpy.run_path, (CLI, None, "__main__"), [CLI, *map(str, words)])


def start_function(function: Callable[..., None], *args: Any) -> Command:
    """Start a process that calls a function of a module and ends."""
    return Command(function, args, [CLI])


def kill_running() -> None:
    """End what a failed test has left running."""
    while _running:
        command = _running.pop()
        command.kill()
        command.wait()


def _start_server() -> None:
    multiprocessing.set_forkserver_preload(["tests.helpers.preload"])
    with contextlib.chdir(ROOT):  # whence it imports
        forkserver.ensure_running()


def _run(
    directory: str,
    environment: dict[str, str],
    streams: tuple[Path, Path],
    program: list[str],
    target: Any,
    args: tuple,
) -> None:
    """Become what `subprocess` would have started: directory, environment, streams, argv."""
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # it may have children
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    for number, path in enumerate((os.devnull, *streams)):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.argv = program
    multiprocessing.util.spawnv_passfds = _start_helper  # type: ignore[attr-defined]
    try:
        target(*args)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out


def _start_helper(executable: str, arguments: list[str], descriptors: Sequence[int]) -> int:
    """Start the fork server of a command as a fork of that command, which has imported what the server would."""
    code = arguments[-1]
    if "multiprocessing.forkserver" not in code:
        return _spawn(executable, arguments, descriptors)
    if (pid := os.fork()) == 0:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in descriptors:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        try:
            exec(code, {})
        finally:  # an error, too, must not go on into the frames of the command
            os._exit(0)
    return pid
