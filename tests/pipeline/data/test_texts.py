import hashlib

import numpy as np
import pytest

from pipeline.data.ragged import Ragged
from pipeline.data.texts import (
    check_texts,
    decode_texts,
    encode_texts,
    is_text,
    text_columns,
    text_hashes,
    text_names,
    without_texts,
)

TEXTS = ["Größe", "", "你好 🙂", "plain"]


def test_texts_are_encoded_and_decoded():
    column = encode_texts(TEXTS)
    assert (column.values.dtype, column.offsets.tolist()) == (np.uint8, [0, 7, 7, 18, 23])
    assert decode_texts(column) == TEXTS
    check_texts("text_1", column)


@pytest.mark.parametrize("data", [b"\xff", "ß".encode()[:1], b"\xed\xa0\x80", b"\xc0\x80"])
def test_bytes_that_are_not_utf8(data):
    column = Ragged(np.frombuffer(b"ok" + data, np.uint8), np.array([0, 2, 2 + len(data)]))
    with pytest.raises(ValueError, match=r"^text_1 holds bytes that are not UTF-8 \(.*1.*\)$"):
        check_texts("text_1", column)


def test_a_row_that_ends_inside_a_character():
    with pytest.raises(ValueError, match="text_1 holds bytes that are not UTF-8"):
        check_texts("text_1", Ragged(np.frombuffer("aß".encode(), np.uint8), np.array([0, 2, 3])))


def test_hash_is_over_each_text_with_its_length():
    pair = [encode_texts(["ab"]), encode_texts(["ß"])]
    expected = hashlib.blake2b(b"\2" + bytes(7) + b"ab" + b"\2" + bytes(7) + "ß".encode(), digest_size=16).digest()
    assert text_hashes(pair).tobytes() == expected


def test_the_same_letters_in_other_columns_have_another_hash():
    first, second = (text_hashes([encode_texts([a]), encode_texts([b])]) for a, b in (("ab", "c"), ("a", "bc")))
    assert (first != second).any()


def test_columns_of_texts_and_choices():
    columns = text_columns([["t"], ["q"]], [["x"], ["y"], ["z"]])
    assert tuple(columns) == ("text_hash", *text_names(2, 3))
    assert text_names(2, 3) == ("text_1", "text_2", "choice_1", "choice_2", "choice_3")
    assert text_names(0, 3) == ()
    assert text_names(1) == ("text_1",)
    assert [is_text(name) for name in columns] == [False, True, True, True, True, True]
    assert without_texts(columns | {"label": np.zeros(1)}).keys() == {"label"}
