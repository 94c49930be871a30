"""`cli.py benchmark` itself: its help, where it writes, and what its table says."""

import json
from pathlib import Path

import pytest

from stages.benchmarks import run
from stages.benchmarks.harness.measurements import Ratio, Series
from stages.benchmarks.harness.timing import Report

HELD = Ratio("held", values=(2.0, 3.0, 4.0), at_least=2.5)
MISSED = Ratio("missed", values=(2.0,), at_most=1, goal=True)


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """What was measured, by name; every benchmark is over at once."""
    names: list[str] = []

    def measure(config) -> Report:
        names.append(config.name)
        return Report((Series("seconds", "s", (1.0,)),), (HELD, MISSED))

    monkeypatch.setattr(run, "MEASURE", dict.fromkeys(run.MEASURE, measure))
    return names


def test_table_says_whether_limits_hold_except_with_quick(call, in_directory, measured):
    out = call("benchmark", "startup").stdout
    assert "at least 2.5: holds" in out and "at most 1 (goal): MISSED" in out
    quick = call("benchmark", "startup", "--quick").stdout
    assert "at least 2.5" in quick and "at most 1 (goal)" in quick
    assert "holds" not in quick.partition("{")[0] and "MISSED" not in quick
    ratios = json.loads(Path("results/benchmark-startup.json").read_text())["ratios"]
    assert [ratios[what]["holds"] for what in ("held", "missed")] == [True, False]


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("file", "cannot be written (a file is in the way). Name another directory"),
        ("file/below/it", "cannot be written (a file is in the way). Name another directory"),
        ("/proc/new", "cannot be written (No such file or directory). Name another directory"),
        ("/proc/self", "cannot be written (No such file or directory). Name another directory"),
        (f"new/{'x' * 300}", "cannot be written (File name too long). Name another directory"),
        ("taken", "cannot be written (benchmark-train.json in it is a directory). Name another directory"),
        ("", "is empty. Name a directory, or leave it out"),
    ],
)
def test_out_that_cannot_be_written_is_refused_before_measuring(call, in_directory, measured, out, reason):
    Path("file").touch()
    Path("taken/benchmark-train.json").mkdir(parents=True)
    result = call("benchmark", "all", "--out", out)
    assert (result.code, result.error) == (2, f"Error: --out {out} {reason}".replace("  ", " "))
    assert measured == [] and {path.name for path in in_directory.iterdir()} == {"file", "taken"}


def test_out_directory_is_created_only_for_results(call, in_directory, measured):
    assert call("benchmark", "train", "--lengths", "none", "--device", "cpu", "--out", "a/b").code == 0
    assert Path("a/b/benchmark-train.json").is_file()
    run.check_out("c/d", [Path("c/d/benchmark-train.json")])
    assert not Path("c").exists()


def test_out_may_be_the_file_of_one_benchmark(call, in_directory, measured):
    assert call("benchmark", "startup", "--out", "a/fast.json").json["out"] == ["a/fast.json"]
    assert json.loads(Path("a/fast.json").read_text())["ratios"] and [path.name for path in Path().iterdir()] == ["a"]
    result = call("benchmark", "all", "--out", "all.json")
    assert (result.code, result.error) == (
        2,
        "Error: --out all.json is one file, and each of train, peers, cache, reader, startup, growth writes its own. "
        "Name a directory",
    )
    assert measured == ["startup"]


def test_help_explains_reader_directory_and_rounds(call):
    words = " ".join(call("benchmark", "--help").stdout.split())
    assert "into data/ of the current directory if there is one, else into TMPDIR" in words
    assert "maximum number of measured rounds; some benchmarks use fewer" in words
    assert "without --model, --lengths, --device" in words
