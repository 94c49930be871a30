"""A cache with the tokens of another tokenizer: for a student that does not have the one of the teacher.

The tokens are made of the texts of the cache, and joined with its labels and targets by example id and by the hash of
the texts: never by order.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.background_check import BackgroundCheck, verify_shard
from pipeline.cache.joined_cache import JoinedCache
from pipeline.cache.reader import Cache
from pipeline.cache.shards import Shard
from pipeline.cache.token_store import TOKEN_COLUMNS, TokenStore, token_types
from pipeline.data.empty_texts import check_few_empty, empty_rows
from pipeline.data.ragged import Column, Columns
from pipeline.data.rows.choices import ChoiceRows
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.rows.rows import SplitRows
from pipeline.data.splits import TEXT_HASH, Prefetching, Split
from pipeline.data.texts import decode_texts
from pipeline.data.tokenize import LONG_SPLIT, tokenize
from pipeline.errors import BadCache, shell_line
from pipeline.system.digests import json_digest, tokenizer_digest
from pipeline.system.progress import bar


@dataclass(frozen=True)
class OwnTokens:
    """A tokenizer of a student's own, and where the tokens that it makes are kept."""

    tokenizer: Any
    max_length: int
    segments: int  # different segment ids that it makes; 0 without any
    store: TokenStore
    name = "own"

    @property
    def pad_id(self) -> int:
        """The token id to pad with."""
        return int(self.tokenizer.pad_token_id)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the tokenizer and of the length at which texts are cut."""
        return json_digest([tokenizer_digest(self.tokenizer), self.max_length])

    @property
    def run_inputs(self) -> dict[str, str]:
        """The digests by which a run knows its tokens, beside that of the cache."""
        return {"tokenizer": self.digest}

    def longest(self, splits: Mapping[str, Split]) -> int:
        """Return the number of tokens of the longest sequence, which are not read for it: texts are cut there."""
        return self.max_length

    def save(self, target: Path, segments: bool = True) -> None:
        """Write the tokenizer into the directory of a student."""
        self.tokenizer.save_pretrained(target)


class RetokenizedShard(Mapping[str, Column]):
    """A shard of a cache with other tokens. Raises `BadCache` where they were not made of its texts."""

    def __init__(self, shard: Shard, tokens: Columns):
        self.shard, self.tokens = shard, {name: tokens[name] for name in TOKEN_COLUMNS if name in tokens}
        key = shard.manifest.text_key
        assert key is not None
        for name, stored in (("example_id", "example_id"), (TEXT_HASH, key)):
            if not np.array_equal(tokens[name], shard[stored]):  # type: ignore[arg-type]
                raise shard.source.damaged(shard.record, f"its {stored} is not that of the tokens made of its texts")

    def __getitem__(self, name: str) -> Column:
        return self.tokens[name] if name in self.tokens else self.shard[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tokens or (name in self.shard and name not in TOKEN_COLUMNS)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.tokens, *(name for name in self.shard if name not in TOKEN_COLUMNS)])

    def __len__(self) -> int:
        return len([*iter(self)])

    def prefetch(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Start reading these rows of the labels and targets."""
        assert isinstance(self.shard, Prefetching)
        self.shard.prefetch(names, rows)


class RetokenizedShards(Sequence[Columns]):
    """The shards of a split, whose tokens are made, or found in the store, when the first one is read."""

    def __init__(self, split: Split, cache: Cache, student: OwnTokens):
        self.split, self.cache, self.student = split, cache, student

    def __len__(self) -> int:
        return len(self.split.shards)

    def __getitem__(self, place: Any) -> Any:
        return self._shards[place]

    @cached_property
    def _shards(self) -> list[RetokenizedShard]:
        manifest, name = self.cache.manifest, self.split.name
        key = json_digest([manifest.identity, self.student.digest, name])
        types = token_types(self.student.segments > 0, manifest.fields.sequences)
        rows = [shard.rows for shard in manifest.splits[name].shards]
        tokens = self.student.store.get(key, types, rows, self._made)
        return [RetokenizedShard(*pair) for pair in zip(self._originals, tokens, strict=True)]

    @property
    def _originals(self) -> list[Shard]:
        return [shard for shard in self.split.shards if isinstance(shard, Shard)]

    def _made(self) -> Iterator[Columns]:
        """Yield the columns of each shard: its texts are compared with their digests first."""
        manifest, texts = self.cache.manifest, self.cache.manifest.text_names
        assert manifest.text_key is not None
        for shard in self._originals:  # of a published cache, its texts are downloaded
            self.cache.source.need([(shard.record, part) for name in texts for part in shard.types[name].parts(name)])
        examples, empty = manifest.splits[self.split.name].examples, list[int]()
        with bar(examples, f"tokenize {self.split.name}", "ex", show=examples > LONG_SPLIT) as progress:
            for shard in self._originals:
                verify_shard(shard, [*texts, "example_id", "row_hash", manifest.text_key, "label"], self.cache.verified)
                columns = self._tokens(shard)
                empty += (empty_rows(columns, self.student.tokenizer) + shard.first_id).tolist()
                yield columns
                progress.update(shard.record.rows)
        check_few_empty(empty, examples, f"{self.cache.location}, split {self.split.name}")

    def _tokens(self, shard: Shard) -> dict[str, Column]:
        manifest, name = self.cache.manifest, self.split.name
        rows = _rows_of(shard, f"{self.cache.location} {name}")
        (made,) = tokenize(name, rows, self.student.tokenizer, self.student.max_length).shards
        assert manifest.text_key is not None
        types = token_types(self.student.segments > 0, manifest.fields.sequences)
        joined = {"example_id": shard["example_id"], TEXT_HASH: shard[manifest.text_key]}
        return {column: joined[column] if column in joined else made[column] for column in types}


def _rows_of(shard: Shard, place: str) -> SplitRows:
    """Return the texts of a shard as rows for a tokenizer."""
    columns = {name: decode_texts(shard[name]) for name in shard.manifest.text_names}  # type: ignore[arg-type]
    texts = tuple(column for name, column in columns.items() if name.startswith("text_"))
    choices = tuple(column for name, column in columns.items() if not name.startswith("text_"))
    labels = np.asarray(shard["label"])
    if not choices:
        return SplitRows(texts, labels, True)
    numbers = list(range(shard.first_id, shard.first_id + len(labels)))
    source = RawSplit(texts=(), labels=[], numbers=numbers, places=[(place, 0)], unit="example")
    return ChoiceRows(texts, labels, True, choices, source)


@dataclass(frozen=True)
class RetokenizedCache(Cache):
    """A cache whose splits have the tokens of a student's own tokenizer. Made by `retokenized`."""

    original: Cache
    student: OwnTokens = field(repr=False)

    @property
    def tokens(self) -> Any:
        """The tokenizer of the student."""
        return self.student

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The splits by name; their tokens are made when they are first read."""
        return {
            name: Split(name, RetokenizedShards(split, self.original, self.student), split.labelled)
            for name, split in self.original.splits.items()
        }

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns of the cache that a model reads: none, its inputs are not those of the teacher."""
        return ()

    def check_in_background(self, columns: Mapping[str, Collection[str]]) -> BackgroundCheck:
        """Return a check of these columns of the cache itself, not yet started."""
        return self.original.check_in_background(columns)


def retokenized(cache: Cache, student: OwnTokens) -> Cache:
    """Return a cache, or each of several joined, with other tokens. Raises `BadCache` for one without texts."""
    if isinstance(cache, JoinedCache):
        values = {each.name: getattr(cache, each.name) for each in fields(cache)}
        return JoinedCache(**values | {"caches": tuple(retokenized(each, student) for each in cache.caches)})
    if cache.manifest.text_key is None:
        raise BadCache(
            f"{cache.location} does not keep the texts, which a student with another tokenizer than the teacher's "
            "reads. Start from a checkpoint with the teacher's tokenizer, or make a cache with texts: "
            + shell_line("cache-teacher", "--cache", "DIR")
        )
    return RetokenizedCache(
        cache.location, cache.manifest, cache.source, cache.teacher, cache.verified, original=cache, student=student
    )
