"""Names of classes: what is one, and how they are typed."""

import json
import shlex

import pytest

from pipeline.data.labels.label_names import (
    is_mark,
    is_unfit,
    json_word,
    listed,
    names_word,
    parse_json_names,
    parse_renames,
    quoted,
    rename_option,
    spelling,
)
from pipeline.errors import BadOption


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("pos", "pos ", True),
        ("pos", "POS", True),
        ("a  b", "a b", True),
        ("1", "1.0", True),
        ("01", "1", True),
        ("True", "1", True),
        ("false", "0", True),
        ("p\u200bos", "pos", True),
        ("\uff30os", "pos", True),
        ("1.5", "1", False),
        ("pos", "pos.", False),
        ("-1", "1", False),
    ],
)
def test_spelling_is_what_names_of_one_meaning_have_in_common(a, b, same):
    assert (spelling(a) == spelling(b)) is same


def test_marks_of_missing_labels():
    assert all(map(is_mark, ("", " ", "-", "N/A", "nan", "NULL", "?", "None")))
    assert not any(map(is_mark, ("none", "0", "-1", "neg")))


def test_unfit_names_have_characters_that_a_terminal_obeys():
    assert all(map(is_unfit, ("\x1b[31mred", "a\x7f", "\x9b", "\ud800", "a\x00")))
    assert not any(map(is_unfit, ("a\tb", "naïve", "日本", "a\nb")))


@pytest.mark.parametrize(
    "value",
    [{"it's": 'say "no"'}, ["a, b", "c"], {"$HOME `x` \\": None}, {"\u200b": "x"}, {"!": "new\nline"}, {"": "é"}],
)
def test_json_survives_a_shell(value):
    word = json_word(value)
    assert "\n" not in word and word.isprintable()
    assert json.loads(*shlex.split(word)) == value


def test_names_are_a_comma_list_where_that_can_be_read_back():
    assert names_word(["neg", "not-x", "1.5"]) == "neg,not-x,1.5"
    assert shlex.split(names_word(["a, b", "c d"])) == ['["a, b", "c d"]']
    assert names_word(["-1", "1"]) == """'["-1", "1"]'"""


def test_long_names_are_shortened():
    assert quoted("x" * 50) == f"'{'x' * 39}…'"
    assert listed(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (12 in all)"
    assert rename_option({"x" * 300: "a"}) == "" == rename_option({str(i): "a" for i in range(60)})
    assert rename_option({"a ": "a"}) == """--rename-labels '{"a ": "a"}'"""


def test_json_names_are_texts_also_where_they_are_numbers():
    assert parse_json_names("--label-map", '{"A": 1, "B": true, "C": null, "D": 2.0}') == {
        "A": "1",
        "B": "True",
        "C": None,
        "D": "2",
    }
    assert parse_json_names("--label-map", '["a", 0]') == ["a", "0"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{a: b}", r"'.*' is not JSON \(.*\)\. Put it in quotes"),
        ("3", r"'3' does not hold names alone\. Write them in double quotes"),
        ('{"a": ["b"]}', "'.*' does not hold names alone"),
        ('{"a": NaN}', "'.*' does not hold names alone"),
        ('["\\ud800", 1e999]', "'.*' does not hold names alone"),
        ('{"a": 1, "a": 2}', r"names 'a' twice\. Name it once$"),
        ("[" * 3000, "'.*' is nested too deeply"),
    ],
)
def test_other_json_is_refused_with_its_reason(text, reason):
    with pytest.raises(BadOption, match=f"^--label-map {reason}"):
        parse_json_names("--label-map", text)


def test_renames_are_an_object_of_names():
    assert parse_renames(None) == {}
    assert parse_renames('{"pos ": "pos", "-": null}') == {"pos ": "pos", "-": None}
    with pytest.raises(BadOption) as error:
        parse_renames('{"a": "b", "-": " "}')
    assert str(error.value) == (
        "--rename-labels gives '-' an empty name. Give it a name, or leave its rows out with null: --rename-labels "
        """'{"a": "b", "-": null}'"""
    )
    for wrong in ("[]", "{}"):
        with pytest.raises(BadOption, match=r"^--rename-labels takes a JSON object of names, null to leave rows out"):
            parse_renames(wrong)
