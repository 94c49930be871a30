import pytest

from stages.distill.outcome import HeldOut, remarks
from stages.distill.table import Row
from stages.sweep.search.record import SweepRecord, TrialRecord

BEST = TrialRecord(number=0, state="finished", parameters={}, method="ft", command="", out="runs/x/best")
SWEEP = SweepRecord("s", "", "grid", "accuracy", {}, (), 2, True, 1.0)
UNTESTED = HeldOut({}, {})
HELPED_NOT = "The best one learned from labels alone (FT): on these rows distilling did not help."


def row(model, score, test_score=None):
    values = dict(setting="", layers=2, parameters=1, latency_ms=1.0, out="")
    return Row(model=model, score=score, test_score=test_score, **values)


def lines(*rows, tested=UNTESTED):
    return list(remarks([row("teacher", 0.9), *rows], BEST, SWEEP, tested))


def test_remarks_name_the_best_and_how_it_was_chosen():
    assert lines(row("KD", 0.8), row("FT", 0.7)) == [
        "",
        "The best of 2 by accuracy on dev: runs/x/best",
        "It was chosen on dev, where its score is therefore a little too high. Measure it anew with --test-file.",
        "Each student was trained once: a small difference between two of them says little.",
    ]
    tested = HeldOut({"test": {"accuracy": 0.79}}, {"test": {"accuracy": (0.75, 0.8125)}})
    assert lines(row("KD", 0.8, 0.79), row("FT", 0.7), tested=tested)[2:4] == [
        "On test, which was not used before: 0.7900 (95 %: 0.7500 – 0.8125).",
        "Its score on dev is a little too high, as it was chosen there.",
    ]
    assert lines(row("KD", 0.8)) == ["", "The best of 1 by accuracy on dev: runs/x/best"]


@pytest.mark.parametrize(
    "rows, said",
    [
        ([row("FT", 0.8), row("KD", 0.7)], True),
        ([row("FT", 0.8), row("KD", 0.8)], False),  # the first of equals
        ([row("FT", 0.8), row("FT", 0.7)], False),
        ([row("KD", 0.8), row("FT", 0.7)], False),
    ],
)
def test_remarks_say_where_distilling_did_not_help(rows, said):
    assert (HELPED_NOT in lines(*rows)) == said
