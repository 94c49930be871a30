"""Random inputs of a chosen size for a model: speed does not depend on the words, only on how many there are."""

from dataclasses import dataclass
from typing import Any

import numpy as np

INPUT_IDS, MASK, SEGMENTS = "input_ids", "attention_mask", "token_type_ids"


@dataclass(frozen=True, kw_only=True)
class InputForm:
    """The inputs of a model: token ids below `vocabulary`, in S `sequences` per example (1, or one for each choice).

    `max_length` is the number of tokens that it has positions for, `segments` whether it takes segment ids.
    """

    vocabulary: int
    padding: int | None
    sequences: int
    max_length: int
    segments: bool

    def shape(self, examples: int, length: int) -> tuple[int, ...]:
        """Return the shape of its inputs for B examples of T tokens: [B, T], or [B, S, T] for several sequences."""
        return (examples, self.sequences, length) if self.sequences > 1 else (examples, length)


def input_form(model: Any) -> InputForm:
    """Return what a model takes; a model without values (on the device meta) is enough."""
    from pipeline.models.encoders import sequences_of
    from pipeline.models.inputs import position_limit, segment_rows

    padding = getattr(model.config, "pad_token_id", None)
    return InputForm(
        vocabulary=model.get_input_embeddings().weight.shape[0],
        padding=padding if isinstance(padding, int) else None,
        sequences=sequences_of(model.config),
        max_length=position_limit(model),
        segments=segment_rows(model) > 0,
    )


def random_inputs(form: InputForm, examples: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return inputs of B examples of T tokens each, int64 [B, T] or [B, S, T]; every position is attended.

    Raises ValueError for more tokens than the model has positions for.
    """
    if not 1 <= length <= form.max_length:
        raise ValueError(f"{length} tokens, and the model takes 1 to {form.max_length}")
    shape = form.shape(examples, length)
    words = np.array([token for token in range(form.vocabulary) if token != form.padding], np.int64)
    inputs = {INPUT_IDS: np.random.default_rng(seed).choice(words, shape), MASK: np.ones(shape, np.int64)}
    return inputs | ({SEGMENTS: np.zeros(shape, np.int64)} if form.segments else {})
