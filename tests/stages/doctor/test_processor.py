"""Cores, others that use them, memory, open files."""

import resource
from types import SimpleNamespace

import psutil
import pytest

from stages.doctor import processor


def test_container_with_fewer_cores_is_a_note(monkeypatch):
    monkeypatch.setattr(processor, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(processor, "available_cores", lambda: 8)
    monkeypatch.setattr(processor, "core_quota", lambda: 2.5)
    check = next(iter(processor.processor()))
    assert check.state == "note" and check.found.endswith("and the container allows 2.5 at a time")
    assert check.advice and check.advice.endswith("export OMP_NUM_THREADS=2")


def test_processes_that_use_the_cores_are_named(monkeypatch):
    class Process:
        def __init__(self, pid, share):
            self.pid, self.share, self.looks = pid, share, 0

        def cpu_times(self):
            if self.share is None:
                raise psutil.AccessDenied(self.pid)
            self.looks += 1
            return SimpleNamespace(user=self.looks * self.share, system=0.0)

        def name(self):
            return f"work\n{self.pid}"

    clock = iter([0.0, 1.0])
    monkeypatch.setattr(processor, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(processor.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(psutil, "process_iter", lambda: [Process(1, 0.2), Process(2, 0.9), Process(3, None)])
    check = processor._other_work(2)
    assert check.state == "note" and check.found.startswith("other processes use 1.1 of 2 cores")
    assert check.found.endswith(": work 2 (2) 0.9, work 1 (1) 0.2")


@pytest.mark.parametrize(("limit", "state"), [(400_000_000, "problem"), (1_000_000_000, "note"), (None, "ok")])
def test_memory_is_judged_by_what_the_container_allows(monkeypatch, limit, state):
    free = SimpleNamespace(available=8_000_000_000, total=16_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(processor, "memory_bytes", lambda: 16_000_000_000)
    monkeypatch.setattr(processor, "memory_limit", lambda: limit)
    [check] = processor.memory()
    assert check.state == state


def test_low_limit_of_open_files_names_the_line_that_raises_it(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (256, 4096))
    [check] = processor.open_files()
    assert (check.state, check.found) == ("note", "256 at once")
    assert check.advice == "Large caches need more: ulimit -n 4096"
