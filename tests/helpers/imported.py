"""A cache of targets that were made elsewhere: without a teacher and without tokens."""

from dataclasses import replace
from pathlib import Path

from pipeline.cache.format.identity import OF_A_MODEL
from pipeline.cache.format.manifest import Manifest, ModelRecord
from pipeline.cache.open import open_cache
from pipeline.cache.writer import CacheWriter
from pipeline.data.splits import digest_of


def write_imported_cache(cache: Path, out: Path) -> Path:
    """Write the texts, labels and logits of a cache as such a cache."""
    source = open_cache(cache)
    fields = replace(
        source.manifest.fields,
        teacher_name="gpt-5",
        target_values="0" * 64,
        layers=(),
        splits={},
        **OF_A_MODEL,
    )
    manifest = Manifest(fields, "arrow", source.manifest.task, ModelRecord.without_model(source.manifest.model.classes))
    writer = CacheWriter(out, fields, "arrow")
    writer.start()
    splits = {}
    for name, split in source.splits.items():
        shards = []
        for index, shard in enumerate(split.shards):
            columns = {column: shard[column] for column in manifest.column_types()} | {"row_hash": shard["text_hash"]}
            shards.append(writer.write_shard(name, index, columns, manifest.column_types()))
        splits[name] = replace(source.manifest.splits[name], shards=tuple(shards))
    digests = {name: digest_of([shard.rows_digest for shard in split.shards]) for name, split in splits.items()}
    writer.finish(replace(manifest, fields=replace(fields, splits=digests), splits=splits))
    return out
