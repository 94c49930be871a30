"""The cost of a cache: passes of the teacher that it saved, and when it had paid for itself."""

from stages.report.cost import cost
from tests.helpers.reports import distillation, student


def test_passes_of_the_teacher_are_those_of_trainings_that_read_it():
    given = cost(distillation(student("ft", 20), student("kd", 30, 1), student("kd", 30, 2)))
    assert (given.trainings, given.passes, given.cached) == (2, 2 * 2 * 100, 140)  # 2 epochs of 80 + 20 examples
    assert given.saved_passes == 260 and given.rate == 10 and given.live_seconds == 40
    assert given.paid_after == 2  # 30 s for the cache, 20 s of the teacher per training


def test_seconds_of_a_continued_cache_follow_from_its_speed():
    made = {"seconds": 3.0, "computed_examples": 70, "computing_seconds": 7.0}
    assert cost(distillation(student("kd", 30), made=made)).cache_seconds == 14


def test_seconds_that_are_not_recorded_are_not_estimated():
    for made in ({}, {"seconds": "a"}, {"seconds": float("nan"), "computed_examples": 0, "computing_seconds": True}):
        given = cost(distillation(student("kd", 30), made=made))
        assert given.cache_seconds is None and given.paid_after is None and given.passes == 200
