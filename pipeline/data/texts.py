"""The texts of examples as columns of UTF-8 bytes, and the hash that identifies an example by them.

An example has one text in each text column; a question with its choices has a text in one more column for each choice.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from pipeline.data.ragged import Column, Columns, Ragged
from pipeline.data.splits import ROW_HASH_BYTES, TEXT_HASH

_LENGTH_BYTES = 8  # of the number of bytes before each text in a hash


def text_names(texts: int, sequences: int = 1) -> tuple[str, ...]:
    """Return the columns of `texts` texts per example and, where an example is several sequences, of its choices."""
    choices = sequences if texts and sequences > 1 else 0
    return (*(f"text_{n + 1}" for n in range(texts)), *(f"choice_{n + 1}" for n in range(choices)))


def is_text(column: str) -> bool:
    """Return whether a column is one of texts."""
    return column.startswith(("text_", "choice_")) and column != TEXT_HASH


def encode_texts(texts: Sequence[str]) -> Ragged:
    """Return a column of these texts, as UTF-8 in uint8."""
    rows = [text.encode() for text in texts]
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return Ragged(np.frombuffer(b"".join(rows), np.uint8), offsets)


def decode_texts(column: Ragged) -> list[str]:
    """Return the texts of a column. Raises ValueError for bytes that are not UTF-8."""
    return [text.decode() for text in _rows(column)]


def check_texts(name: str, column: Ragged) -> None:
    """Raise ValueError naming the first row of a column whose bytes are not UTF-8; allocates little."""
    import pyarrow

    offsets, values = (
        pyarrow.py_buffer(np.require(part, requirements=("C", "A"))) for part in (column.offsets, column.values)
    )
    texts = pyarrow.LargeStringArray.from_buffers(len(column), offsets, values)
    try:
        texts.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{name} holds bytes that are not UTF-8 ({error})") from error


def text_hashes(columns: Sequence[Ragged]) -> np.ndarray:
    """Return the hash of the texts of every example, uint8 [n, 16].

    BLAKE2b of the texts in the order of their columns, each after its number of bytes as little-endian int64.
    """
    hashes = b"".join(
        hashlib.blake2b(b"".join(_with_lengths(texts)), digest_size=ROW_HASH_BYTES).digest()
        for texts in zip(*(_rows(column) for column in columns), strict=True)
    )
    return np.frombuffer(hashes, np.uint8).reshape(-1, ROW_HASH_BYTES)


def _rows(column: Ragged) -> Iterator[bytes]:
    values, offsets = column.values.tobytes(), column.offsets.tolist()
    return (values[start:stop] for start, stop in pairwise(offsets))


def _with_lengths(texts: Sequence[bytes]) -> Iterator[bytes]:
    for text in texts:
        yield len(text).to_bytes(_LENGTH_BYTES, "little")
        yield text


def text_columns(texts: Sequence[Sequence[str]], choices: Sequence[Sequence[str]] = ()) -> dict[str, Column]:
    """Return the columns of these texts, by name, and `text_hash`; each of `texts` and `choices` has a text per row."""
    names = text_names(len(texts), max(1, len(choices)))
    columns = [encode_texts(column) for column in (*texts, *choices)]
    return {TEXT_HASH: text_hashes(columns), **dict(zip(names, columns, strict=True))}


def without_texts(columns: Columns) -> dict[str, Column]:
    """Return the columns but those of texts and their hash."""
    return {name: column for name, column in columns.items() if name != TEXT_HASH and not is_text(name)}
