"""Caches in an earlier version of the format: recognised, and continued as they were started."""

from dataclasses import replace
from pathlib import Path

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.writer import fields_in
from pipeline.data.splits import Split, split_digest
from pipeline.data.texts import without_texts
from pipeline.system.progress import note


def in_version_of(directory: Path, manifest: Manifest, splits: dict[str, Split]) -> tuple[Manifest, dict[str, Split]]:
    """Return a cache as it is to be written into `directory`: in version 2 where that has been started there.

    Version 2 does not have texts. A directory with anything else than this cache is left for the writer to refuse.
    """
    fields = fields_in(directory)
    if not fields or fields.get("format") != 2:
        return manifest, splits
    earlier = {name: replace(split, shards=[without_texts(s) for s in split.shards]) for name, split in splits.items()}
    shard_rows = manifest.fields.shard_rows
    digests = {name: split_digest(split, shard_rows) for name, split in earlier.items()}
    identity = replace(manifest.fields, format=2, texts=0, splits=digests)
    if identity.as_json() != fields:
        return manifest, splits
    note(
        f"{directory} was made in version 2 of the format and stays as it is: without the texts, which a student of "
        "another tokenizer and cache export need. To have them too, name another --cache"
    )
    return replace(manifest, fields=identity, task=replace(manifest.task, text_columns=())), earlier
