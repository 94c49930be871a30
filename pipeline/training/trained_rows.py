"""The rows that a run was trained with: whether those at hand are still the same."""

from collections.abc import Mapping
from typing import Any

from pipeline.data.splits import Split, rows_digest
from pipeline.data.texts import without_texts


def changed_splits(record: Mapping[str, Any], splits: Mapping[str, Split]) -> list[str]:
    """Return the splits, of one shard each, whose tokens or labels are not those in the record of a teacher's run."""
    inputs = record.get("inputs", {})
    return [
        name
        for name, split in splits.items()
        if name in inputs and inputs[name] != rows_digest(without_texts(split.shards[0]))
    ]
