import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation.layer_map import parse_layers, pkd_last, pkd_skip, resolve_layer_map, student_depth
from pipeline.errors import BadOption

depths = st.integers(2, 48).flatmap(lambda n: st.tuples(st.integers(n, 48), st.just(n)))


@pytest.mark.parametrize(
    ("teacher", "student", "layers"),
    [(12, 6, (2, 4, 6, 8, 10)), (12, 3, (4, 8)), (24, 6, (4, 8, 12, 16, 20)), (6, 3, (2, 4)), (12, 5, (2, 4, 7, 9))],
)
def test_pkd_skip_of_the_paper(teacher, student, layers):
    assert pkd_skip(teacher, student) == layers


@pytest.mark.parametrize(
    ("teacher", "student", "layers"), [(12, 6, (7, 8, 9, 10, 11)), (12, 3, (10, 11)), (6, 3, (4, 5))]
)
def test_pkd_last_of_the_paper(teacher, student, layers):
    assert pkd_last(teacher, student) == layers


@given(depths)
def test_maps_are_distinct_rising_and_never_the_last_layer(depth):
    teacher, student = depth
    for layers in (pkd_skip(*depth), pkd_last(*depth)):
        assert len(layers) == student - 1
        assert list(layers) == sorted(set(layers))
        assert all(1 <= layer < teacher for layer in layers)


@given(st.integers(2, 48))
def test_a_student_as_deep_as_its_teacher_matches_every_layer_but_the_last(depth):
    assert pkd_skip(depth, depth) == pkd_last(depth, depth) == tuple(range(1, depth))


def test_default_depth_is_half():
    assert [student_depth(None, depth) for depth in (1, 2, 5, 12)] == [1, 1, 2, 6]


def choose(method="pkd-skip", by_hand=None, student=3, kept=(1, 2, 3, 4, 5)):
    resolved, layers = resolve_layer_map(method, by_hand, student, 6, kept)
    return resolved.name, layers


def test_the_method_is_called_by_its_map():
    assert choose() == ("pkd-skip", (2, 4))
    assert choose(by_hand="4,5") == ("pkd-last", (4, 5))
    assert choose("pkd-last", "2,4") == ("pkd-skip", (2, 4))
    assert choose(by_hand="1,5") == ("pkd-custom", (1, 5))
    assert choose("kd") == ("kd", ()) and choose("ft", student=1) == ("ft", ())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(student=1), "a student of one layer does not have a layer for pkd-skip to match. Use --method kd"),
        (
            dict(by_hand="2,6"),
            "--teacher-layers 2,6: layer 6 is outside 1..5 (the last of the teacher's 6 layers is never matched)",
        ),
        (
            dict(by_hand="0,2"),
            "--teacher-layers 0,2: layer 0 is outside 1..5 (the last of the teacher's 6 layers is never matched)",
        ),
        (dict(by_hand="2,2"), "--teacher-layers 2,2: a layer is repeated. Name each once"),
        (dict(by_hand="4,2"), "--teacher-layers 4,2: layers must rise. Try --teacher-layers 2,4"),
        (dict(by_hand="two"), "--teacher-layers takes layer numbers as 2,4, not 'two'"),
        (
            dict(by_hand="1,2,3"),
            "--teacher-layers 1,2,3: a student of 3 layers matches 2, not 3. Try --student-layers 4",
        ),
        (
            dict(method="kd", by_hand="2,4"),
            "--teacher-layers does not apply to --method kd. Leave it out, or use pkd-skip",
        ),
        (
            dict(kept=(4, 5)),
            "the cache keeps teacher layers 4,5, not 2. Use --teacher-layers with layers that it keeps, "
            "or cache again with --layers all",
        ),
        (
            dict(kept=()),
            "the cache keeps no teacher layers. Use --method kd, or cache again with --layers all",
        ),
    ],
)
def test_maps_that_do_not_fit(options, text):
    with pytest.raises(BadOption) as error:
        choose(**options)
    assert str(error.value) == text


def test_a_student_deeper_than_its_teacher():
    with pytest.raises(BadOption) as error:
        student_depth(7, 6)
    assert str(error.value) == (
        "--student-layers 7: the teacher has only 6 layers. Use --student-layers 3, or any number up to 6"
    )


def test_parsed_layers():
    assert parse_layers("--layers", "1, 3,5", 6) == (1, 3, 5)
