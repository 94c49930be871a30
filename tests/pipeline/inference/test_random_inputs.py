"""Random inputs are what the model takes: its vocabulary, its segments, its sequences, and no padding."""

import numpy as np
import pytest

from pipeline.inference.random_inputs import InputForm, random_inputs

FORM = InputForm(vocabulary=30, padding=7, sequences=1, max_length=16, segments=True)


def test_random_inputs_are_the_same_again_and_never_padding():
    inputs = random_inputs(FORM, 50, 16)
    assert {name: (value.shape, value.dtype) for name, value in inputs.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), ((50, 16), np.dtype(np.int64))
    )
    assert set(np.unique(inputs["input_ids"])) == set(range(30)) - {7} and inputs["attention_mask"].all()
    assert not inputs["token_type_ids"].any()
    again = random_inputs(FORM, 50, 16)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)


def test_random_inputs_of_choices_have_three_dimensions_and_no_segments():
    form = InputForm(vocabulary=30, padding=None, sequences=4, max_length=16, segments=False)
    assert {name: value.shape for name, value in random_inputs(form, 2, 8).items()} == {
        "input_ids": (2, 4, 8),
        "attention_mask": (2, 4, 8),
    }


@pytest.mark.parametrize("length", [0, 17])
def test_random_inputs_refuse_lengths_without_positions(length):
    with pytest.raises(ValueError, match=f"^{length} tokens, and the model takes 1 to 16$"):
        random_inputs(FORM, 1, length)
