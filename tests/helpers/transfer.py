"""Caches with examples that do not have a label."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.cache.format.manifest import SplitRecord
from pipeline.cache.open import open_cache
from pipeline.cache.shard_writer import write_shard
from tests.helpers.rewriting import columns_of


def with_transfer(source: Path, out: Path, train: int, splits: tuple[str, ...] = ()) -> Path:
    """A cache whose first `train` shards of the training split stay, and whose others are its transfer split, without
    labels; of `splits` alone, where there are any."""
    cache = open_cache(source)
    manifest, kind = cache.manifest, cache.manifest.kind
    shards = {name: list(split.shards) for name, split in cache.splits.items()}
    shards = {"train": shards["train"][:train], "transfer": shards["train"][train:]} | {
        name: shards[name] for name in shards if name != "train"
    }
    records = {}
    for name, parts in shards.items():
        if not parts or (splits and name not in splits):
            continue
        written, first = [], 0
        for index, shard in enumerate(parts):
            columns, file = (
                columns_of(shard),
                f"{name}/{index:05d}.{'arrow' if manifest.container == 'arrow' else 'h5'}",
            )
            rows = len(columns["label"])
            columns["example_id"] = np.arange(first, first + rows)
            if name == "transfer":
                columns["label"] = kind.without_labels(rows, manifest.model.classes)
            written.append(write_shard(out / file, file, manifest.container, columns, manifest.column_types()))
            first += rows
        records[name] = SplitRecord(name != "transfer", tuple(written))
    digests = {
        name: hashlib.sha256("".join(shard.rows_digest for shard in record.shards).encode()).hexdigest()
        for name, record in records.items()
    }
    shutil.copytree(source / "teacher", out / "teacher")
    metrics = {name: values for name, values in manifest.teacher_metrics.items() if name in records}
    fields = replace(manifest.fields, splits=digests)
    replace(manifest, fields=fields, splits=records, teacher_metrics=metrics).write(out)
    return out
