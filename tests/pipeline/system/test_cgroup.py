"""Limits of a container: read from files as Linux writes them, of both versions."""

import pytest

from pipeline.system import cgroup


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Return a function that writes the files of a hierarchy, and makes this process a member of `line`."""

    def write(line, files):
        monkeypatch.setattr(cgroup, "ROOT", tmp_path)
        monkeypatch.setattr(cgroup, "MEMBERSHIP", tmp_path / "membership")
        for name, text in {"membership": f"{line}\n", **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return write


def test_limits_of_version_2_are_the_lowest_of_the_group_and_those_above(group):
    group("0::/pod/job", {"pod/cpu.max": "150000 100000\n", "pod/job/cpu.max": "max 100000\n"})
    group("0::/pod/job", {"pod/memory.max": "2000\n", "pod/job/memory.max": "3000\n"})
    assert cgroup.core_quota() == 1.5 and cgroup.memory_limit() == 2000


def test_limits_of_version_1(group):
    group("4:cpu,cpuacct:/job", {"cpu/job/cpu.cfs_quota_us": "50000\n", "cpu/job/cpu.cfs_period_us": "100000\n"})
    assert cgroup.core_quota() == 0.5
    group("5:memory:/job", {"memory/job/memory.limit_in_bytes": "4096\n"})
    assert cgroup.memory_limit() == 4096


@pytest.mark.parametrize("text", ["max 100000\n", "", "-1 100000\n", "many 0\n"])
def test_group_without_limit_does_not_have_one(group, text):
    group("0::/job", {"job/cpu.max": text, "job/memory.max": "max\n"})
    assert cgroup.core_quota() is None and cgroup.memory_limit() is None
