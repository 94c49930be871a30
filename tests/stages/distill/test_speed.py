import json

import pytest

from pipeline.cache.open import open_cache
from pipeline.errors import BadOption
from stages.distill.speed import Latencies, deepest_within, measured_latencies

MEASURED = Latencies(40, "cpu", 2, {1: 2.04, 2: 3.5, 4: 6.0})


@pytest.mark.parametrize("budget, depth", [(2.1, 1), (3.5, 1), (3.51, 2), (100.0, 4)])
def test_deepest_student_within_the_budget_is_chosen(budget, depth):
    assert deepest_within(budget, MEASURED) == depth


def test_budget_that_nothing_meets_is_refused_with_the_fastest():
    with pytest.raises(BadOption) as refused:
        deepest_within(1.5, MEASURED)
    assert str(refused.value) == (
        "--budget-ms 1.5 cannot be met: the fastest student, of 1 layer, takes 2.0 ms here (one example of 40 tokens, "
        "torch, float32, 2 threads). Try --budget-ms 2.3, or a smaller --model"
    )


def test_latency_is_measured_once(tiny, tmp_path):
    cache, file = open_cache(tiny.arrow), tmp_path / "latency.json"
    first = measured_latencies(cache, [1, 4], file)
    assert set(first.milliseconds) == {1, 4} and all(taken > 0 for taken in first.milliseconds.values())
    assert 8 <= first.tokens <= 32 and first.conditions == (
        f"one example of {first.tokens} tokens, torch, float32, 1 thread"
    )
    more = measured_latencies(cache, [1, 2], file)
    assert set(more.milliseconds) == {1, 2, 4}
    assert {depth: more.milliseconds[depth] for depth in (1, 4)} == first.milliseconds
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"threads": 64, "milliseconds": {"1": 1e9}}))  # of another machine
    assert measured_latencies(cache, [1], file).milliseconds[1] < 1e9
