"""Texts of which a tokenizer makes nothing."""

import numpy as np
import pytest

from pipeline.data.empty_texts import check_not_empty
from pipeline.data.ragged import Ragged
from pipeline.errors import BadRows
from tests.helpers.own_tokenizer import own_tokenizer

CLS, SEP, UNK, WORD = 0, 1, 2, 5


def columns(rows, lengths=None):
    tokens = {"input_ids": Ragged.from_lists(rows, np.int32)}
    return tokens | ({"sequence_lengths": np.array(lengths, np.int32)} if lengths else {})


def test_examples_of_unknown_words_or_no_words_are_named():
    tokenizer = own_tokenizer()
    check_not_empty(columns([[CLS, UNK, WORD, SEP], [CLS, WORD, SEP]]), tokenizer, "data/x, split train")
    with pytest.raises(BadRows) as error:
        check_not_empty(
            columns([[CLS, WORD, SEP], [CLS, UNK, UNK, SEP], [CLS, SEP]]), tokenizer, "data/x, split train", 64
        )
    assert str(error.value) == (
        "data/x, split train: the tokenizer of the student makes nothing of the text of 2 examples (65, 66): no "
        "tokens, or unknown words alone. Start from another checkpoint with --init, or remove these rows"
    )
    with pytest.raises(BadRows, match=r"of the text of example 1: no tokens"):
        check_not_empty(columns([[CLS, WORD], [CLS]]), tokenizer, "data/x, split train")


def test_each_choice_of_a_question_counts():
    row = [CLS, WORD, SEP, CLS, UNK, SEP]
    with pytest.raises(BadRows, match=r"of the text of example 0: "):
        check_not_empty(columns([row], [[3, 3]]), own_tokenizer(), "data/x, split dev")
    check_not_empty(columns([[CLS, WORD, SEP, WORD]], [[3, 1]]), own_tokenizer(), "data/x, split dev")
