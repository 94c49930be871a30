"""The command `doctor`: a line for each check, the same as JSON, and exit code 0 whatever is broken."""

import os
import signal

import pytest

from stages.doctor import run
from stages.doctor.checks import NOTE, OK, PROBLEM, Check, in_child

pytestmark = pytest.mark.process


@pytest.fixture
def quick(monkeypatch):
    """Leave out the checks that wait, for the hub and for a sample of other processes."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("stages.doctor.processor.SAMPLE_SECONDS", 0.01)


def test_doctor_prints_each_check_and_counts_problems(quick, call, in_directory):
    result = call("doctor")
    assert result.code == 0 and set(result.json) == {"command", "seconds", "checks", "problems"}
    checks = result.json["checks"]
    names = {check["name"] for check in checks}
    assert names >= {"python", "processor", "other work", "memory", "torch", "bfloat16", "hub", "store", "disk"}
    assert names >= {"extra onnx", "extra track", "open files", "variables"}
    assert result.json["problems"] == sum(check["state"] == PROBLEM for check in checks)
    lines = result.stdout.splitlines()[:-1]
    assert len(lines) == len(checks) and all(line.split()[0] in (OK, NOTE, PROBLEM) for line in lines)
    assert list(in_directory.iterdir()) == []


def test_doctor_goes_on_where_a_check_fails(monkeypatch, call):
    def broken():
        yield Check("first", PROBLEM, "is broken", "repair it")
        raise RuntimeError("two\nlines \x1b[31m")

    monkeypatch.setattr(run, "CHECKS", {"damaged": broken, "last": lambda: [Check("last", OK, "is there")]})
    result = call("doctor")
    assert result.code == 0 and result.json["problems"] == 1
    assert [line.split(maxsplit=2) for line in result.stdout.splitlines()[:-1]] == [
        ["problem", "first", "is broken. repair it"],
        ["note", "damaged", "could not be checked (RuntimeError: two lines [31m)"],
        ["ok", "last", "is there"],
    ]


def test_package_that_a_check_cannot_import_is_a_problem(monkeypatch, call):
    def broken():
        raise ModuleNotFoundError("No module named 'platformdirs'")

    monkeypatch.setattr(run, "CHECKS", {"store": broken})
    [check] = call("doctor").json["checks"]
    assert check["state"] == PROBLEM and check["advice"].startswith("Install the packages again")


def test_secrets_are_named_and_not_printed(quick, monkeypatch, call):
    monkeypatch.setattr(run, "CHECKS", {name: run.CHECKS[name] for name in ("hub", "variables")})
    secret = "hf_0123456789secret"
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    for name in ("HTTPS_PROXY", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, f"http://user:{secret}@host:8080/?key={secret}")
    result = call("doctor")
    assert secret not in result.stdout + result.stderr
    assert "HF_TOKEN (set)" in result.stdout and "MLFLOW_TRACKING_URI=http://host:8080/" in result.stdout
    assert "a token is set" in result.stdout


def kill_this_process():
    os.kill(os.getpid(), signal.SIGSEGV)
    return []


def test_library_that_ends_its_process_is_a_problem_and_not_the_end():
    [check] = in_child("torch", kill_this_process)
    assert (check.name, check.state) == ("torch", PROBLEM)
    assert check.found == "importing and using it ends the process (signal 11 (SIGSEGV))"
