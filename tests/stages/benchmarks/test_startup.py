"""What `benchmark startup` times is what it says, wherever it is called from."""

import pytest

from pipeline.config.benchmark import BenchmarkConfig
from stages.benchmarks.harness.measurements import Series, difference
from stages.benchmarks.startup import COMMANDS, NOTHING, measure, seconds_of, times_of


@pytest.mark.process
def test_every_command_is_timed_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = times_of(COMMANDS, 1)
    assert list(found) == list(COMMANDS) and NOTHING in found
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in found.values())


@pytest.mark.process
@pytest.mark.parametrize(("options", "rounds"), [({"rounds": 3}, 3), ({"quick": True}, 2), ({"rounds": 1}, 1)])
def test_startup_counts_the_requested_rounds(monkeypatch, options, rounds):
    monkeypatch.setattr("stages.benchmarks.startup.COMMANDS", dict.fromkeys((NOTHING, "again"), (("-c", "pass"), 0)))
    report = measure(BenchmarkConfig(name="startup", **options))
    assert [len(one.values) for one in (*report.series, *report.ratios)] == [rounds] * 3


@pytest.mark.process
def test_seconds_of_raises_for_another_exit_code():
    with pytest.raises(RuntimeError, match=r"^-c import sys; sys\.exit\('no'\) ended with exit code 1: no"):
        seconds_of(("-c", "import sys; sys.exit('no')"), 0)


def test_difference_keeps_its_unit_and_limit():
    late, nothing = Series("late", "s", (0.5, 0.2, 0.9)), Series("nothing", "s", (0.1, 0.1, 0.1))
    found = difference("late, more than nothing", late, nothing, at_most=0.3)
    assert found.unit == "s" and found.values == pytest.approx((0.4, 0.1, 0.8))
    assert found.holds is False
    assert difference("the same", nothing, nothing, at_most=0.3).holds is True
