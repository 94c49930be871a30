"""The variables of launchers, as platforms set them."""

import os

import pytest

from pipeline.system.launcher import ignore_absent_launcher, is_main_process, num_processes

MEETING = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
VARIABLES = (*MEETING, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def seen(monkeypatch, variables):
    for name in (*VARIABLES, "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ignore_absent_launcher()
    return tuple(os.environ.get(name) for name in NAMES), is_main_process(), num_processes()


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "1"},
        {"LOCAL_RANK": ""},
        {"LOCAL_RANK": "0"},
        {"RANK": "1", "WORLD_SIZE": "4", **MEETING},
        {"RANK": "x", "WORLD_SIZE": "", "LOCAL_RANK": "1.5", **MEETING},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "-1", **MEETING},
        {"RANK": "3", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **MEETING},
        {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": ""},
        {"OMPI_COMM_WORLD_SIZE": "none", "ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "1"},
    ],
)
def test_without_a_launcher_they_are_ignored(monkeypatch, variables):
    assert seen(monkeypatch, variables) == ((None, None, None), True, 1)


def test_with_one_they_stay(monkeypatch):
    launched = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **MEETING}
    assert seen(monkeypatch, launched) == (("1", "2", "1"), False, 2)
    on_cpu = {"ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": " "}
    assert seen(monkeypatch, on_cpu) == (("0", "2", None), True, 2)
