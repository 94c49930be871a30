"""The lines of `benchmark growth`, and what it says where there is no room."""

import os
from types import SimpleNamespace

import pytest

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.errors import BadCache
from stages.benchmarks.harness.lines import Line
from stages.benchmarks.harness.measurements import Series
from stages.benchmarks.scaling import measure
from stages.benchmarks.scaling_lines import line, proportional_memory


def test_line_through_medians_matches_hand_calculation():
    found = line("opening", "s", "example", {1: (0.003, 0.003, 9.0), 2: (0.005,), 4: (0.009,)})
    assert found.fit == pytest.approx((0.001, 0.002)) and found.deviation == pytest.approx(0, abs=1e-9)
    assert found.sentence() == "opening: 1.00 ms + 2.00 ms an example; largest deviation 0.0 %"
    assert [series.name for _, series in found.points][:2] == ["opening, 1 example", "opening, 2 examples"]
    assert found.as_json()["points"] == [[1, 0.003], [2, 0.005], [4, 0.009]]


def test_points_before_the_straight_part_are_kept_but_not_fitted():
    points = tuple((x, Series("", "bytes", (y,))) for x, y in [(1, 2000), (2, 2000), (4, 4000), (8, 8000)])
    bent = Line("memory", "bytes", "reader", points, straight_from=2)
    assert bent.fit == pytest.approx((0, 1000), abs=1e-6) and len(bent.as_json()["points"]) == 4
    # Through all four by hand: mean x 3.75, mean y 4000; slope 26000 / 28.75 = 904.35; the worst point is at x = 1.
    whole = Line("memory", "bytes", "reader", points)
    assert whole.fit[1] == pytest.approx(26000 / 28.75)
    assert whole.deviation == pytest.approx((2000 - whole.fit[0] - whole.fit[1]) / 2000)
    # Of the squares around the mean, 24,000,000, the line explains slope × 26000.
    assert (
        whole.r_squared == pytest.approx(26000**2 / 28.75 / 24e6) == pytest.approx(whole.as_json()["r_squared"], 1e-4)
    )
    assert Line("", "s", "layer", tuple((x, Series("", "s", (3.0,))) for x in (1, 2))).r_squared == 1


def test_growth_without_room_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=999))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with pytest.raises(BadCache) as caught:
        measure(BenchmarkConfig(name="growth"))
    assert str(caught.value) == (
        f"{tmp_path} needs 5.0 GB, and 999 bytes are free there. Make room, name another TMPDIR, or try --quick"
    )
    assert list(tmp_path.iterdir()) == []


def test_proportional_memory_is_zero_for_a_missing_process():
    assert 10_000_000 < proportional_memory(os.getpid()) < 10_000_000_000
    assert proportional_memory(2**30) == 0
