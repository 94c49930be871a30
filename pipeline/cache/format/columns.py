"""The columns of a shard: their names, types and widths, the same in every container.

A column is in the file as one part (its values), or, where rows differ in length, as two: values and offsets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.ragged import Column, Ragged
from pipeline.data.splits import ROW_HASH_BYTES, SEQUENCE_LENGTHS, TEXT_HASH
from pipeline.data.texts import text_names

LOGITS = "logits"
ROW_COLUMNS = ("example_id", "row_hash", TEXT_HASH, "label")  # what the targets of a row belong to


@dataclass(frozen=True)
class ColumnType:
    """The type of a column.

    `width`: values of `dtype` per row; 0: a single value; None: a number of values that differs by row.
    """

    dtype: str
    width: int | None = 0
    target: bool = False  # made by the teacher; the other columns are known before it has run
    text: bool = False  # bytes of UTF-8; a row may be empty, and is as long as it is

    def parts(self, name: str) -> tuple[str, ...]:
        """Return the names of the parts that the column called `name` is stored as."""
        return (f"{name}/values", f"{name}/offsets") if self.width is None else (name,)

    def view(self, name: str, parts: Sequence[np.ndarray], rows: int) -> Column:
        """Return the column of `rows` rows in the bytes (uint8) of its parts. Raises ValueError if they do not fit."""
        dtype = np.dtype(self.dtype)
        if self.width is not None:
            if len(parts[0]) != self.bytes(rows):
                raise ValueError(f"column {name} has {len(parts[0])} bytes, not {self.bytes(rows)}")
            values = parts[0].view(dtype)
            return values if self.width == 0 else values.reshape(rows, self.width)
        if len(parts[0]) % dtype.itemsize or len(parts[1]) != 8 * (rows + 1):
            raise ValueError(f"column {name} is not a ragged column of {rows} rows")
        column = Ragged(parts[0].view(dtype), parts[1].view(np.int64))
        self.check(name, column, rows)
        return column

    def bytes(self, rows: int) -> int:
        """Return the bytes of `rows` rows of a fixed-width column."""
        return rows * max(1, self.width or 0) * np.dtype(self.dtype).itemsize

    def check(self, name: str, column: Column, rows: int) -> None:
        """Raise ValueError unless `column` has this type, `rows` rows and, if ragged, sound offsets."""
        if isinstance(column, Ragged):
            offsets, values = column.offsets, column.values
            typed = values.dtype == self.dtype and offsets.dtype == np.int64 and values.ndim == offsets.ndim == 1
            if self.width is not None or not typed or not self._sound(offsets, rows, len(values)):
                raise ValueError(f"column {name} is not a sound ragged column of {rows} rows of {self.dtype}")
            return
        shape = (rows,) if self.width == 0 else (rows, self.width)
        if column.dtype != self.dtype or column.shape != shape:
            raise ValueError(f"column {name} is {column.dtype}{list(column.shape)}, not {self.dtype}{list(shape)}")

    def _sound(self, offsets: np.ndarray, rows: int, values: int) -> bool:
        ends = len(offsets) == rows + 1 and offsets[0] == 0 and offsets[-1] == values
        lowest = 0 if self.text else 1
        return bool(ends and (offsets[:-1] <= offsets[1:] - lowest).all())


def cls_column(layer: int) -> str:
    """Return the name of the column of a teacher layer's [CLS] vectors."""
    return f"cls_{layer:02d}"


def cls_layer(column: str) -> int | None:
    """Return the teacher layer whose [CLS] vectors are in a column; None for another column."""
    return int(column.removeprefix("cls_")) if column.startswith("cls_") else None


def token_columns(token_types: bool, sequences: int) -> dict[str, ColumnType]:
    """Return the columns of the tokens of an example of `sequences` inputs."""
    types = {"input_ids": ColumnType("int32", None)}
    if token_types:
        types["token_type_ids"] = ColumnType("int8", None)
    return types | ({SEQUENCE_LENGTHS: ColumnType("int32", sequences)} if sequences > 1 else {})


def column_types(
    *,
    num_logits: int,
    label_dtype: str,
    label_width: int = 0,
    token_types: bool,
    layers: Sequence[int],
    hidden: int,
    dtype: str,
    sequences: int = 1,
    tokens: bool = True,
    texts: int = 0,
) -> dict[str, ColumnType]:
    """Return all columns of a shard, in their order; an example has `sequences` inputs, each with a [CLS] vector.

    Without `tokens` its texts are what identifies an example. `texts` is the number of text columns, 0 for none.
    """
    types = {"example_id": ColumnType("int64"), "row_hash": ColumnType("uint8", ROW_HASH_BYTES)}
    if tokens and texts:
        types[TEXT_HASH] = ColumnType("uint8", ROW_HASH_BYTES)
    types |= token_columns(token_types, sequences) if tokens else {}
    types |= {name: ColumnType("uint8", None, text=True) for name in text_names(texts, sequences)}
    types["label"] = ColumnType(label_dtype, label_width)
    types[LOGITS] = ColumnType("float32", num_logits, target=True)
    return types | {cls_column(layer): ColumnType(dtype, sequences * hidden, target=True) for layer in layers}


def parts_of(columns: Mapping[str, Column]) -> dict[str, np.ndarray]:
    """Return the parts that columns are stored as, each contiguous in memory."""
    parts: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        if isinstance(column, Ragged):
            parts |= {f"{name}/values": column.values, f"{name}/offsets": column.offsets}
        else:
            parts[name] = column
    return {name: np.ascontiguousarray(part) for name, part in parts.items()}


def check_columns(columns: Mapping[str, Column], types: Mapping[str, ColumnType], rows: int) -> None:
    """Raise ValueError for an unknown column, a missing one, or one of another type."""
    if set(columns) != set(types):
        raise ValueError(f"columns are {', '.join(sorted(columns))}, not {', '.join(sorted(types))}")
    for name, column_type in types.items():
        column_type.check(name, columns[name], rows)
    ragged = [column for name, column in columns.items() if isinstance(column, Ragged) and not types[name].text]
    if any((column.offsets != ragged[0].offsets).any() for column in ragged):
        raise ValueError("the ragged columns differ in the lengths of their rows")
