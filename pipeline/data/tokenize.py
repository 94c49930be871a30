"""Tokenisation: rows of text become examples."""

from typing import Any

import numpy as np

from pipeline.data.ragged import Column, Ragged
from pipeline.data.rows import SplitRows
from pipeline.data.splits import ROW_HASH_BYTES, Split, row_hashes
from pipeline.system.progress import bar

TOKENIZE_ROWS = 1000
LONG_SPLIT = 20_000  # examples from which tokenising takes long enough for a bar


def tokenize(name: str, rows: SplitRows, tokenizer: Any, max_length: int) -> Split:
    """Return a split of one shard in memory; pairs are cut, longest text first, to `max_length` tokens."""
    with_types = "token_type_ids" in tokenizer.model_input_names
    ids, types = [], []
    with bar(len(rows), f"tokenize {name}", "ex", show=len(rows) > LONG_SPLIT) as progress:
        for start in range(0, len(rows), TOKENIZE_ROWS):
            part = [texts[start : start + TOKENIZE_ROWS] for texts in rows.texts]
            encoded = tokenizer(
                *part, truncation=True, max_length=max_length, padding=False, return_token_type_ids=with_types
            )
            ids.append(Ragged.from_lists(encoded["input_ids"], np.int32))
            if with_types:
                types.append(Ragged.from_lists(encoded["token_type_ids"], np.int8))
            progress.update(len(part[0]))
    input_ids = Ragged.joined(ids)
    hashes = b"".join(row_hashes(input_ids))
    shard: dict[str, Column] = {
        "example_id": np.arange(len(rows), dtype=np.int64),
        "row_hash": np.frombuffer(hashes, np.uint8).reshape(len(rows), ROW_HASH_BYTES),
        "input_ids": input_ids,
        "label": rows.labels,
    }
    if with_types:
        shard["token_type_ids"] = Ragged.joined(types)
    return Split(name, [shard], rows.labelled)
