"""Texts of which a tokenizer makes nothing: no tokens, or only those of unknown words."""

from typing import Any

import numpy as np

from pipeline.data.ragged import Columns
from pipeline.data.splits import SEQUENCE_LENGTHS
from pipeline.errors import BadRows

FIRST_NAMED = 5


def check_not_empty(columns: Columns, tokenizer: Any, place: str, first_id: int = 0) -> None:
    """Raise `BadRows` for the examples, numbered from `first_id`, whose tokens say nothing of their text.

    Of a question with choices, each choice must have a token that says something.
    """
    tokens = columns["input_ids"]
    silent = [*{*tokenizer.all_special_ids, tokenizer.unk_token_id} - {None}]
    says = ~np.isin(tokens.values, silent)  # type: ignore[union-attr]
    lengths = np.diff(tokens.offsets) if SEQUENCE_LENGTHS not in columns else columns[SEQUENCE_LENGTHS].reshape(-1)  # type: ignore[union-attr]
    ends = np.cumsum(lengths)
    counts = np.concatenate(([0], np.cumsum(says)))
    sequences = len(lengths) // len(tokens)
    empty = (counts[ends] == counts[ends - lengths]).reshape(-1, sequences).any(axis=1)
    if not empty.any():
        return
    rows = (np.flatnonzero(empty) + first_id).tolist()
    numbers = ", ".join(map(str, rows[:FIRST_NAMED])) + (", …" if len(rows) > FIRST_NAMED else "")
    examples = f"example {numbers}" if len(rows) == 1 else f"{len(rows):,} examples ({numbers})"
    raise BadRows(
        f"{place}: the tokenizer of the student makes nothing of the text of {examples}: no tokens, or unknown words "
        "alone. Start from another checkpoint with --init, or remove these rows"
    )
