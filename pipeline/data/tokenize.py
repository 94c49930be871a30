"""Tokenisation: rows of text become examples."""

from typing import Any

import numpy as np

from pipeline.data.ragged import Column, Ragged
from pipeline.data.rows.choices import ChoiceRows
from pipeline.data.rows.rows import SplitRows, TaskRows
from pipeline.data.splits import ROW_HASH_BYTES, SEQUENCE_LENGTHS, Split, row_hashes
from pipeline.data.spool import Spool, make_splits
from pipeline.data.texts import text_columns
from pipeline.system.progress import bar

TOKENIZE_ROWS = 1000
LONG_SPLIT = 20_000  # examples from which tokenising takes long enough for a bar


def tokenize(name: str, rows: SplitRows, tokenizer: Any, max_length: int, texts: bool = False) -> Split:
    """Return a split of one shard in memory, of at most `max_length` tokens per sequence; with its `texts` too.

    Pairs are cut, longest text first; of a question with its choices, the first text alone. Raises `BadRows` for a
    question that does not leave it any room.
    """
    with_types = "token_type_ids" in tokenizer.model_input_names
    truncation = "longest_first"
    if isinstance(rows, ChoiceRows):
        truncation = "only_first"
        check_room(rows, tokenizer, max_length)
    ids, types = [], []
    with bar(len(rows), f"tokenize {name}", "ex", show=len(rows) > LONG_SPLIT) as progress:
        for start in range(0, len(rows), TOKENIZE_ROWS):
            part = rows.inputs(start, start + TOKENIZE_ROWS)
            encoded = tokenizer(
                *part, truncation=truncation, max_length=max_length, padding=False, return_token_type_ids=with_types
            )
            ids.append(Ragged.from_lists(encoded["input_ids"], np.int32))
            if with_types:
                types.append(Ragged.from_lists(encoded["token_type_ids"], np.int8))
            progress.update(len(part[0]) // rows.sequences)
    sequences = Ragged.joined(ids)
    offsets = sequences.offsets[:: rows.sequences]
    input_ids = Ragged(sequences.values, offsets)
    lengths = np.diff(sequences.offsets).reshape(len(rows), -1).astype(np.int32) if rows.sequences > 1 else None
    hashes = b"".join(row_hashes(input_ids, lengths))
    shard: dict[str, Column] = {
        "example_id": np.arange(len(rows), dtype=np.int64),
        "row_hash": np.frombuffer(hashes, np.uint8).reshape(len(rows), ROW_HASH_BYTES),
        "input_ids": input_ids,
        "label": rows.labels,
    }
    if with_types:
        shard["token_type_ids"] = Ragged(Ragged.joined(types).values, offsets)
    if lengths is not None:
        shard[SEQUENCE_LENGTHS] = lengths
    if texts:
        shard |= text_columns(rows.texts, rows.choices if isinstance(rows, ChoiceRows) else ())
    return Split(name, [shard], rows.labelled)


def tokenize_rows(
    rows: TaskRows,
    labels: tuple[str, ...],
    tokenizer: Any,
    max_length: int,
    shard_rows: int,
    spool: Spool,
    texts: bool = False,
) -> dict[str, Split]:
    """Return the splits of a task, its classes numbered as in `labels`; with the `texts` too.

    A transfer split of a stream has shards of `shard_rows`, which are on disk, in the `spool`.
    """

    def tokenized(name: str, part: SplitRows) -> Split:
        return tokenize(name, part.relabelled(rows.task.labels, labels), tokenizer, max_length, texts)

    return make_splits(rows, tokenized, shard_rows, spool)


def check_room(rows: ChoiceRows, tokenizer: Any, max_length: int) -> None:
    """Raise `BadRows` for questions that, with a choice, leave no token of `max_length` to the first text."""
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - 1
    faults = rows.source.faults()
    for start in range(0, len(rows), TOKENIZE_ROWS):
        _, seconds = rows.inputs(start, start + TOKENIZE_ROWS)
        encoded = tokenizer(seconds, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded)).reshape(-1, rows.sequences).max(axis=1)
        for row in np.flatnonzero(lengths > room):
            fact = f"its question with a choice has {lengths[row]} tokens, and --max-length {max_length} leaves {room}"
            faults.add("long", *rows.source.place(start + int(row)), fact, "Raise --max-length, or shorten this row")
    faults.check()
