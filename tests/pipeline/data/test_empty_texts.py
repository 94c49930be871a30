"""Texts of which a tokenizer makes nothing."""

import numpy as np
import pytest

from pipeline.data.empty_texts import check_few_empty, empty_rows
from pipeline.data.ragged import Ragged
from pipeline.errors import BadRows
from tests.helpers.own_tokenizer import own_tokenizer

CLS, SEP, UNK, WORD = 0, 1, 2, 5


def columns(rows, lengths=None):
    tokens = {"input_ids": Ragged.from_lists(rows, np.int32)}
    return tokens | ({"sequence_lengths": np.array(lengths, np.int32)} if lengths else {})


def test_examples_of_unknown_words_or_no_words_are_found():
    rows = columns([[CLS, WORD, SEP], [CLS, UNK, UNK, SEP], [CLS, UNK, WORD, SEP], [CLS, SEP]])
    assert empty_rows(rows, own_tokenizer()).tolist() == [1, 3]


def test_each_choice_of_a_question_counts():
    row = [CLS, WORD, SEP, CLS, UNK, SEP]
    assert empty_rows(columns([row], [[3, 3]]), own_tokenizer()).tolist() == [0]
    assert not empty_rows(columns([[CLS, WORD, SEP, WORD]], [[3, 1]]), own_tokenizer()).size


def test_few_examples_are_named_and_more_of_them_refused(capsys):
    check_few_empty([], 300, "data/x, split train")
    check_few_empty([65], 1000, "data/x, split train")
    fact = "data/x, split train: the tokenizer of the student makes nothing of the text of "
    assert capsys.readouterr().err == (f"warning: {fact}example 65, of 1,000: no tokens, or unknown words alone\n")
    with pytest.raises(BadRows) as error:
        check_few_empty([65, 66], 1000, "data/x, split train")
    assert str(error.value) == (
        f"{fact}2 examples (65, 66): no tokens, or unknown words alone. Start from another checkpoint with --init, or "
        "remove these rows"
    )
    with pytest.raises(BadRows, match=r"of the text of 300 examples \(0, 1, 2, 3, 4, …\): no tokens"):
        check_few_empty(range(300), 300, "data/x, split train")
