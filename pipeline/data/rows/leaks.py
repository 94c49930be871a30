"""Leaks: texts of training rows, or of rows without labels, that are also in a dev or test split.

A score on a split says little where the student has seen its texts. Two texts are the same if they differ only in their
Unicode form, in case and in white space; pairs have to be the same in both texts.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, Self, TypeVar

import numpy as np

from pipeline.data.tasks import DEV, TEST, TRAIN, role_of
from pipeline.errors import BadRows
from pipeline.system.progress import note

FIRST_NAMED = 3  # leaks that are named
_KEY_BYTES = 16

Place = Callable[[int], str]  # of a row, in words


def text_key(texts: Sequence[str]) -> bytes:
    """Return 16 bytes that the same texts have in common (BLAKE2b)."""
    return hashlib.blake2b("\0".join(map(_normalised, texts)).encode(), digest_size=_KEY_BYTES).digest()


def _normalised(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(text.casefold().split())


@dataclass(frozen=True)
class PlacedTexts:
    """The texts of a split, a list for each text column, and the place of each row."""

    texts: tuple[list[str], ...]
    place: Place


class Rows(Protocol):
    """The rows of a split, read or not yet."""

    def placed_texts(self, name: str) -> PlacedTexts:
        """Return the texts of the rows, and their places; `name` is that of the split."""
        ...

    def taken(self, rows: np.ndarray) -> Self:
        """Return these rows (numbers in rising order)."""
        ...


@dataclass(frozen=True)
class HeldOut:
    """The texts of the dev and test splits, by their keys, each with the place of its first row."""

    names: tuple[str, ...] = ()
    places: Mapping[bytes, str] = field(default_factory=dict)

    @classmethod
    def from_splits(cls, splits: Mapping[str, Rows]) -> "HeldOut":
        """Return those of the dev and test splits among these."""
        chosen = {name: rows.placed_texts(name) for name, rows in splits.items() if role_of(name) in (DEV, TEST)}
        places: dict[bytes, str] = {}
        for split in chosen.values():
            for row, texts in enumerate(zip(*split.texts, strict=True)):
                if (key := text_key(texts)) not in places:
                    places[key] = split.place(row)
        return cls(tuple(chosen), places)


@dataclass
class Leaks:
    """The leaks among the rows of a split, counted while they are read."""

    held_out: HeldOut = field(default_factory=HeldOut)
    rows: int = 0
    count: int = 0
    named: list[str] = field(default_factory=list)

    def has(self, texts: Sequence[str], place: Callable[[], str]) -> bool:
        """Count a row with these texts, and return whether it is a leak."""
        self.rows += 1
        known = self.held_out.places.get(text_key(texts)) if self.held_out.places else None
        if known is None:
            return False
        self.count += 1
        if len(self.named) < FIRST_NAMED:
            self.named.append(f"{place()} = {known}")
        return True

    def among(self, part: PlacedTexts) -> np.ndarray:
        """Count these rows, and return which of them are leaks: bool [n]."""
        rows = enumerate(zip(*part.texts, strict=True))
        return np.array([self.has(texts, partial(part.place, row)) for row, texts in rows], bool)

    def note(self, name: str, advice: str) -> None:
        """Say how many rows of the split called `name` are leaks, if any are, and what becomes of them."""
        if self.count:
            examples = ", ".join(self.named) + (", …" if self.count > len(self.named) else "")
            splits = " or ".join(self.held_out.names)
            note(
                f"{name}: {self.count:,} of {self.rows:,} rows have the texts of a row of {splits} ({examples}). "
                f"{advice}"
            )


R = TypeVar("R", bound=Rows)


def without_leaks(train: R, splits: Mapping[str, Rows], drop: bool) -> tuple[R, Leaks]:
    """Return the training rows, without the leaks among them if they are to `drop`, and the leaks.

    Raises `BadRows` if no row is left.
    """
    leaks = Leaks(HeldOut.from_splits(splits))
    is_leak = leaks.among(train.placed_texts(TRAIN))
    leaks.note(TRAIN, "They are left out" if drop else "Leave them out with --drop-leaks")
    if not drop or not leaks.count:
        return train, leaks
    if is_leak.all():
        raise BadRows("--drop-leaks leaves all training rows out: dev or test rows have the texts of each. Check them")
    return train.taken(np.flatnonzero(~is_leak)), leaks
