"""Cells of rows: one spelling for a value, whatever the type that a file gives it."""

import datetime
import decimal
import math
import re
from typing import Any

from pipeline.data.faults import Faults
from pipeline.errors import one_line

Cell = str | list[str | None] | None  # a text, a list of texts (labels), or null
_SURROGATE = re.compile("[\ud800-\udfff]")
_AS_PRINTED = (int, datetime.date, datetime.time, datetime.timedelta)  # bool is an int, datetime a date


def spelled(value: object) -> Cell:
    """Return a value as the text that a csv file would hold: True, 1 (also for 1.0), 2.5; null and NaN as None.

    A list becomes a list of texts. Raises ValueError for what is not text: an object, an infinite number, bytes.
    """
    if isinstance(value, str):
        if not value.isascii() and _SURROGATE.search(value):
            raise ValueError("contains half of a surrogate pair, which is not text")
        return value
    if isinstance(value, list):
        texts = [spelled(item) for item in value]
        if any(isinstance(text, list) for text in texts):
            raise ValueError(f"is a list of lists: {_shortened(value)}")
        return texts  # type: ignore[return-value]
    return _scalar(value)


def read_cells(place: str, number: int, names: tuple[str, ...], values: Any, faults: Faults) -> tuple[Cell, ...] | None:
    """Return the cells of a row, None if one of its values is not text."""
    try:
        return tuple(map(spelled, values))
    except ValueError:
        for name, value in zip(names, values, strict=True):
            try:
                spelled(value)
            except ValueError as error:
                reason = "is not UTF-8 text" if isinstance(error, UnicodeError) else error
                faults.add(f"cell {name}", place, number, f"{one_line(name, 40)} {reason}")
                break
        return None


def _scalar(value: object) -> str | None:
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    if value is None or value != value:  # NaN is how data frames write null
        return None
    if isinstance(value, float | decimal.Decimal) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, _AS_PRINTED):
        return str(value)
    raise ValueError(f"is not text but {_shortened(value)}")


def _shortened(value: object) -> str:
    return one_line(f"{value!r:.200}", 40)
