"""A split of a cache for programs of others: its columns by name, each shard compared with its digests before use."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.cache.background_check import verify_shard
from pipeline.cache.format.manifest import Manifest
from pipeline.cache.shards import Shard
from pipeline.cache.user_store import VerifiedDigests
from pipeline.data.joined_split import join_splits
from pipeline.data.ragged import Columns
from pipeline.data.splits import Split
from pipeline.errors import BadOption, one_line
from pipeline.system.progress import bar

AND = "+"  # between the names of splits that are read as one


class OpenCache(Protocol):
    """An open cache, several joined, or one with the tokens of a student's own tokenizer."""

    @property
    def location(self) -> str:
        """Its directory or URL."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        ...

    @property
    def verified(self) -> VerifiedDigests:
        """The digests that were verified before."""
        ...

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        ...

    @property
    def identity(self) -> str:
        """The digest of everything that the cache was made from."""
        ...

    @property
    def tokens(self) -> Any:
        """The tokens that a student reads: their tokenizer, padding and segments."""
        ...

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns of the cache that are the inputs of a model."""
        ...

    def check_in_background(self, columns: Mapping[str, Collection[str]]) -> Any:
        """Return a check of these columns (split -> names), not yet started."""
        ...


def named_split(cache: OpenCache, name: str) -> Split:
    """Return a split of the cache, or several as one: `train+transfer`. Raises `BadOption` for an unknown name."""
    names = name.split(AND)
    unknown = [each for each in names if each not in cache.splits]
    if unknown or len(set(names)) < len(names):
        fact = f"does not have a split {one_line(unknown[0], 40)}" if unknown else f"is asked twice for one of {name}"
        example = f", or several as one: {AND.join([*cache.splits][:2])}" if len(cache.splits) > 1 else ""
        raise BadOption(f"{cache.location} {fact}. Name one of {', '.join(cache.splits)}{example}")
    return join_splits([cache.splits[each] for each in names])


def chosen_columns(cache: OpenCache, columns: Sequence[str] | None, allowed: Collection[str]) -> tuple[str, ...]:
    """Return these columns, by default all that are allowed. Raises `BadOption` for any other name."""
    if isinstance(columns, str):
        columns = (columns,)
    names = tuple(dict.fromkeys(allowed if columns is None else columns))
    if unknown := [name for name in names if name not in allowed]:
        raise BadOption(
            f"{cache.location} does not have a column {one_line(unknown[0], 40)}. Name some of {', '.join(allowed)}"
        )
    return names


class ShardChecks:
    """The checks of the shards of a split, each of the columns that are read, once in this process.

    Digests that the user's store lists as verified are not computed again. Raises `BadOption` for a published cache
    whose columns are larger than the store may be.
    """

    def __init__(self, cache: OpenCache, split: Split, columns: Sequence[str]):
        self.split, self.columns, self.verified = split, (*cache.input_columns, *columns), cache.verified
        self._checked: set[int] = set()
        cache.check_in_background({part.name: self.columns for part in split.parts})  # whether there is room for them

    def check(self, ids: np.ndarray) -> None:
        """Check the shards of these examples. Raises `BadCache` naming the damaged shard."""
        for number in np.unique(np.searchsorted(self.split.starts, ids, side="right") - 1).tolist():
            self._check(number)

    def check_all(self) -> None:
        """Check every shard, with a bar. Raises `BadCache` naming the damaged shard."""
        shards = len(self.split.shards)
        with bar(shards, f"check {self.split.name}", "shard", show=shards > 1) as progress:
            for number in range(shards):
                self._check(number)
                progress.update()

    def _check(self, number: int) -> None:
        if number not in self._checked:
            verify_shard(stored_shard(self.split.shards[number]), self.columns, self.verified)
            self._checked.add(number)


def stored_shard(columns: Columns) -> Shard:
    """Return the shard of a cache that columns are views of, under other example ids or with other tokens."""
    shard: Any = columns
    while not isinstance(shard, Shard):
        shard = shard.shard
    return shard
