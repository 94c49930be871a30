"""Cells of rows: one spelling for a value, whatever the type that a file gives it."""

import datetime
import decimal
import math
import re
from typing import Any

from pipeline.data.tables.columns import Wanted
from pipeline.data.tables.faults import Faults
from pipeline.errors import one_line

Cell = str | list[str | None] | None  # a text, a list of texts (labels), or null
_NAMES = {"text", "label"}  # of choices with labels, in ARC, CommonsenseQA and others
_SURROGATE = re.compile("[\ud800-\udfff]")
_AS_PRINTED = (int, datetime.date, datetime.time, datetime.timedelta)  # bool is an int, datetime a date


class LabelledTexts(list[str | None]):
    """The texts of choices that have labels of their own, by which answers call them."""

    def __init__(self, texts: list[str | None], labels: list[str | None]) -> None:
        super().__init__(texts)
        self.labels = labels


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


def spelled_choices(value: object) -> Cell:
    """Return choices as texts: a list, {"text": [...], "label": [...]}, [{"text": ..., "label": ...}], {label: text}.

    Raises ValueError for what is none of these.
    """
    if isinstance(value, dict) and value.keys() >= _NAMES:
        texts, labels = value["text"], value["label"]
    elif isinstance(value, dict):
        texts, labels = list(value.values()), list(value)
    elif isinstance(value, list) and value and all(isinstance(item, dict) and item.keys() >= _NAMES for item in value):
        texts, labels = [item["text"] for item in value], [item["label"] for item in value]
    else:
        return spelled(value)
    texts, labels = spelled(texts), spelled(labels)
    if not isinstance(texts, list) or not isinstance(labels, list) or len(texts) != len(labels):
        raise ValueError(f"does not have a label for each text: {_shortened(value)}")
    return LabelledTexts(texts, labels)


def read_cells(place: str, number: int, wanted: Wanted, values: Any, faults: Faults) -> tuple[Cell, ...] | None:
    """Return the cells of a row, None if one of its values is not what its column can hold."""
    if not wanted.targets:
        try:
            return tuple(map(spelled, values))
        except ValueError:
            pass
    cells: list[Cell] = []
    for name, value in zip(wanted.names, values, strict=True):
        is_choices, is_target = name in wanted.choices, name in wanted.targets
        try:
            cells.append(value if is_target else spelled_choices(value) if is_choices else spelled(value))
        except ValueError as error:
            reason = "is not UTF-8 text" if isinstance(error, UnicodeError) else error
            advice = 'Write choices as a list, or as {"text": […], "label": […]}' if is_choices else "Fix this row"
            faults.add(f"cell {name}", place, number, f"{one_line(name, 40)} {reason}", advice)
            return None
    return tuple(cells)


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
