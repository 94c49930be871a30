"""A split of a cache as a `datasets.Dataset`: its Arrow table is the mapped bytes of the shards, nothing is copied."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.cache.checked_split import OpenCache, ShardChecks, chosen_columns, named_split, stored_shard
from pipeline.cache.format.arrow import to_arrow
from pipeline.data.ragged import Column, Ragged
from pipeline.data.splits import TEXT_HASH, Split
from pipeline.errors import BadOption
from pipeline.system.digests import json_digest

if TYPE_CHECKING:
    import datasets

LABEL, HASHES = "label", ("row_hash", TEXT_HASH)


def arrow_dataset(cache: OpenCache, name: str, columns: Sequence[str] | None) -> "datasets.Dataset":
    """Return what `Cache.to_datasets` does."""
    import datasets

    split = named_split(cache, name)
    names = chosen_columns(cache, columns, [each for each in split.shards[0] if each not in HASHES])
    if not names:  # a table without columns does not have rows
        raise BadOption(f"{cache.location} is asked for no column. Name some, or leave columns out for all")
    types = cache.manifest.column_types()
    ShardChecks(cache, split, [each for each in names if each in types]).check_all()
    table = pa.Table.from_batches([_batch(cache, split, number, names) for number in range(len(split.shards))])
    features = datasets.Features.from_arrow_schema(table.schema)
    classes = cache.manifest.task.labels
    if LABEL in features and classes and pa.types.is_int64(table.schema.field(LABEL).type):
        features[LABEL] = datasets.ClassLabel(names=list(classes))
    shards = [stored_shard(shard).record.sha256 for shard in split.shards]
    fingerprint = json_digest([shards, cache.tokens.run_inputs, names])[:16]
    info = datasets.DatasetInfo(features=features)
    return datasets.Dataset(table, info, split=datasets.NamedSplit(name), fingerprint=fingerprint)


def _batch(cache: OpenCache, split: Split, number: int, names: Sequence[str]) -> pa.RecordBatch:
    """Return these columns of a shard as Arrow arrays on its bytes."""
    shard, types = split.shards[number], cache.manifest.column_types()
    arrays = [_array(shard[name], name in types and types[name].text) for name in names]
    return pa.record_batch(arrays, names=list(names))


def _array(column: Column, text: bool) -> Any:
    if text:
        assert isinstance(column, Ragged)
        return pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(column.offsets), pa.py_buffer(column.values))
    return to_arrow(column)
