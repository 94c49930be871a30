"""Texts of which a tokenizer makes nothing: no tokens, or only those of unknown words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.data.ragged import Columns
from pipeline.data.splits import SEQUENCE_LENGTHS
from pipeline.errors import BadRows
from pipeline.system.progress import note

FIRST_NAMED = 5
MOST_EMPTY = 0.001  # share of a split: with more of them, the tokenizer is for other texts


def empty_rows(columns: Columns, tokenizer: Any) -> np.ndarray:
    """Return the places of the examples whose tokens say nothing of their text, int64 [n].

    Of a question with choices, each choice must have a token that says something.
    """
    tokens = columns["input_ids"]
    silent = [*{*tokenizer.all_special_ids, tokenizer.unk_token_id} - {None}]
    says = ~np.isin(tokens.values, silent)  # type: ignore[union-attr]
    lengths = np.diff(tokens.offsets) if SEQUENCE_LENGTHS not in columns else columns[SEQUENCE_LENGTHS].reshape(-1)  # type: ignore[union-attr]
    ends = np.cumsum(lengths)
    counts = np.concatenate(([0], np.cumsum(says)))
    sequences = len(lengths) // len(tokens)
    return np.flatnonzero((counts[ends] == counts[ends - lengths]).reshape(-1, sequences).any(axis=1))


def check_few_empty(empty: Sequence[int], examples: int, place: str) -> None:
    """Name the examples of a split whose text a tokenizer makes nothing of. Raises `BadRows` for more than a few."""
    if not empty:
        return
    numbers = ", ".join(map(str, empty[:FIRST_NAMED])) + (", …" if len(empty) > FIRST_NAMED else "")
    named = f"example {numbers}" if len(empty) == 1 else f"{len(empty):,} examples ({numbers})"
    fact = f"{place}: the tokenizer of the student makes nothing of the text of {named}"
    if len(empty) > MOST_EMPTY * examples:
        raise BadRows(
            f"{fact}: no tokens, or unknown words alone. Start from another checkpoint with --init, or remove these "
            "rows"
        )
    note(f"warning: {fact}, of {examples:,}: no tokens, or unknown words alone")
