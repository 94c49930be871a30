"""Variables of threads, and a hub that does not answer."""

import threading

import pytest

from stages.doctor import surroundings


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(surroundings, "available_cores", lambda: 2)
    monkeypatch.setattr(surroundings, "core_quota", lambda: None)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)


@pytest.mark.parametrize(
    ("value", "found", "advice"),
    [
        ("8", "OMP_NUM_THREADS is 8, and there are 2 cores: threads wait for each other", "export OMP_NUM_THREADS=2"),
        ("1", "OMP_NUM_THREADS is 1, and there are 2 cores", "To use all: unset OMP_NUM_THREADS"),
        ("all", "OMP_NUM_THREADS is 'all', not a number of threads", "export OMP_NUM_THREADS=2"),
        ("0", "OMP_NUM_THREADS is '0', not a number of threads", "export OMP_NUM_THREADS=2"),
    ],
)
def test_odd_number_of_threads_is_a_note(monkeypatch, two_cores, value, found, advice):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    [check] = [check for check in surroundings.variables() if check.name == "threads"]
    assert (check.state, check.found, check.advice) == ("note", found, advice)


def test_number_of_threads_that_fits_is_not_a_note(monkeypatch, two_cores):
    for value in ("2", "2,1", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert [check.name for check in surroundings.variables()] == ["variables"]


def test_hub_that_does_not_answer_is_a_note_in_time(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr("pipeline.system.hub.reachable", lambda: ended.wait(60))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(surroundings, "HUB_SECONDS", 0.01)
    check = next(iter(surroundings.hub()))
    ended.set()
    assert check.state == "note" and "did not answer within 0.01 s" in check.found
    assert check.advice == "Models and data in local directories work without it: export HF_HUB_OFFLINE=1"
