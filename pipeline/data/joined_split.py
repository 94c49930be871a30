"""Several splits as one list of examples, without a copy: their shards, under example ids that count on.

So the join by example id and row hash, the order of the batches and reading ahead work as they do on one split.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.data.ragged import Column, Columns
from pipeline.data.splits import Prefetching, Split


class ShiftedShard(Mapping[str, Column]):
    """A shard whose example ids are larger by `shift`."""

    def __init__(self, shard: Columns, shift: int):
        self.shard, self.shift = shard, shift

    def __getitem__(self, name: str) -> Column:
        return self.example_ids if name == "example_id" else self.shard[name]

    @cached_property
    def example_ids(self) -> np.ndarray:
        """The example ids: int64 [rows]."""
        return np.asarray(self.shard["example_id"]) + self.shift

    def __contains__(self, name: object) -> bool:
        return name in self.shard

    def __iter__(self) -> Iterator[str]:
        return iter(self.shard)

    def __len__(self) -> int:
        return len(self.shard)

    def prefetch(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Start reading these rows of these columns, where the shard can."""
        if isinstance(self.shard, Prefetching):
            self.shard.prefetch(names, rows)


@dataclass(frozen=True)
class JoinedSplit(Split):
    """The examples of several splits, one split after the other. Made by `join_splits`."""

    joined: tuple[Split, ...]

    @property
    def parts(self) -> tuple[Split, ...]:
        """The splits that were joined."""
        return self.joined

    def place(self, example: int) -> str:
        """Return where an example is, in words: its split and its number there."""
        for part in self.joined:
            if example < len(part):
                return part.place(example)
            example -= len(part)
        raise IndexError(f"{self.name} has {len(self)} examples")


def join_splits(splits: Sequence[Split]) -> Split:
    """Return the examples of these splits as one; a single split stays as it is."""
    if len(splits) == 1:
        return splits[0]
    parts = tuple(part for split in splits for part in split.parts)
    shards: list[Columns] = []
    first = 0
    for part in parts:
        shards += [ShiftedShard(shard, first) if first else shard for shard in part.shards]
        first += len(part)
    name = "+".join(dict.fromkeys(part.name for part in parts))
    return JoinedSplit(name, shards, any(part.labelled for part in parts), parts)
