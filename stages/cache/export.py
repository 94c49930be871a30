"""The command `cache export`: write rows, labels and targets of a cache as one table."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.columns import LOGITS, cls_column, cls_layer
from pipeline.cache.format.manifest import Manifest
from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache, splits_of_role
from pipeline.config.cache import CacheExportConfig
from pipeline.data.labels.labels import named_labels
from pipeline.data.ragged import Columns, slice_columns
from pipeline.data.splits import Split
from pipeline.data.tables.table_writers import ENDINGS, write_table
from pipeline.data.texts import decode_texts
from pipeline.errors import BadCache, BadOption, one_line
from pipeline.system.files import write_file
from pipeline.system.progress import bar, note
from pipeline.system.system_errors import reason_of

CHUNK_ROWS = 2048
CHOICES = "choices"
ROW_NAMES = ("split", "example_id", "label")


@dataclass(frozen=True)
class ExportResult:
    """The file, and what is in it."""

    command: str
    out: str
    rows: int
    columns: list[str]
    bytes: int
    seconds: float


def run(config: CacheExportConfig) -> ExportResult:
    """Write the table, complete or not at all; every byte that is read is verified. Raises a `DistillError`."""
    started = time.monotonic()
    out = Path(config.out)
    if out.suffix not in ENDINGS:
        raise BadOption(f"--out {one_line(out)} does not end in {', '.join(ENDINGS)}. Give it one of these endings")
    if out.exists() or out.is_symlink():
        raise BadOption(f"{one_line(out)} exists, and nothing was changed. Name another --out")
    cache = open_cache(config.cache)
    manifest = cache.manifest
    splits = splits_of_role(cache.splits, config.split) if config.split else cache.splits
    targets = _targets(config, cache)
    if out.suffix == ".csv" and manifest.kind.label_width(manifest.model.classes):
        raise BadOption(
            f"--out {one_line(out)}: the label of a row is a list of classes, which a csv file does not hold. Name a "
            ".parquet or .jsonl file"
        )
    texts = () if config.no_text else manifest.text_names
    if not config.no_text and not texts:
        note(f"{cache.location} does not keep the texts: they are left out")
    schema = _schema(manifest, texts, targets)
    rows = sum(len(split) for split in splits.values())
    check = cache.check_in_background({name: [*texts, *map(_stored, targets)] for name in splits})

    def write(path: Path) -> None:
        with check, bar(rows, f"export {manifest.task.name}", "ex") as progress:
            batches = _batches(manifest, splits, texts, targets, schema, progress.update)
            write_table(path, out.suffix, schema, batches)
            check.wait()

    try:
        write_file(out, write)
    except OSError as error:
        raise BadOption(
            f"{one_line(out)} cannot be written ({reason_of(error)}). Make room, or name another --out"
        ) from error
    seconds = round(time.monotonic() - started, 2)
    return ExportResult("cache export", str(out), rows, schema.names, out.stat().st_size, seconds)


def _targets(config: CacheExportConfig, cache: Cache) -> tuple[str, ...]:
    """Return the targets to write. Raises `BadOption` for one that the cache does not have."""
    manifest = cache.manifest
    derived = ("probabilities", "logprobs") if manifest.task.labels else ("score",)
    available = (*derived, LOGITS, *(cls_column(layer) for layer in manifest.layers))
    if config.targets is None:
        return derived[:1]
    targets = tuple(dict.fromkeys(config.targets.split(",")))
    if unknown := [target for target in targets if target not in available]:
        raise BadOption(
            f"--targets {one_line(unknown[0], 40)!r}: {cache.location} does not have this target. "
            f"Use some of {', '.join(available)}"
        )
    return targets


def _stored(target: str) -> str:
    """Return the column of the cache that a target is computed from."""
    return LOGITS if cls_layer(target) is None else target


# --- columns -------------------------------------------------------------------------------------------------


def _schema(manifest: Manifest, texts: Sequence[str], targets: Sequence[str]) -> Any:
    """Return the schema of the table; its metadata has what a reader needs to know of the columns."""
    import pyarrow as pa

    fields = {"split": pa.string(), "example_id": pa.int64()}
    names = _text_columns(manifest, texts, targets)
    fields |= dict.fromkeys(names, pa.large_string())
    if len(names) < len(texts):
        fields[CHOICES] = pa.list_(pa.large_string())
    fields["label"] = _label_type(manifest)
    fields |= {target: _target_type(target) for target in targets}
    metadata = {"task": manifest.task.name, "kind": manifest.kind.name, "cache_identity": manifest.identity}
    metadata |= {"labels": json.dumps(manifest.task.labels, ensure_ascii=False)} if manifest.task.labels else {}
    return pa.schema(fields, metadata=metadata)


def _text_columns(manifest: Manifest, texts: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Return the names of the texts but choices: those in the rows, where they are known and not those of others."""
    stored = [name for name in texts if not name.startswith("choice_")]
    names = manifest.task.text_columns or stored
    taken = {*ROW_NAMES, CHOICES, *targets}
    columns = [name if name not in taken else column for name, column in zip(names, stored, strict=False)]
    return columns if len({*columns}) == len(columns) else stored


def _label_type(manifest: Manifest) -> Any:
    import pyarrow as pa

    if not manifest.task.labels:
        return pa.float64()
    return pa.list_(pa.string()) if manifest.kind.label_width(manifest.model.classes) else pa.string()


def _target_type(target: str) -> Any:
    import pyarrow as pa

    if target == "score":
        return pa.float64()
    return pa.list_(pa.float64() if target in ("probabilities", "logprobs") else pa.float32())


def _batches(
    manifest: Manifest,
    splits: dict[str, Split],
    texts: Sequence[str],
    targets: Sequence[str],
    schema: Any,
    advance: Any,
) -> Iterator[Any]:
    """Yield the table in record batches of a few rows. Raises `BadCache` for values that cannot be."""
    import pyarrow as pa

    for name, split in splits.items():
        for shard in split.shards:
            rows = len(shard["label"])
            for start in range(0, rows, CHUNK_ROWS):
                columns = _rows_of(shard, start, min(start + CHUNK_ROWS, rows), texts, targets)
                count = len(columns["example_id"])
                values = [[name] * count, columns["example_id"], *_text_values(columns, texts)]
                values.append(_labels(manifest, split, columns["label"]))
                values += [_values(manifest, target, columns) for target in targets]
                arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
                yield pa.record_batch(arrays, schema=schema)
                advance(count)


def _rows_of(shard: Columns, start: int, stop: int, texts: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    names = ("example_id", "label", *texts, *map(_stored, targets))
    return slice_columns({name: shard[name] for name in names}, start, stop)


def _text_values(columns: dict[str, Any], texts: Sequence[str]) -> list[Any]:
    """Return the texts, one list for each column, and at the end the lists of choices."""
    values = {name: decode_texts(columns[name]) for name in texts}
    choices = [values.pop(name) for name in texts if name.startswith("choice_")]
    return [*values.values(), *([[list(row) for row in zip(*choices, strict=True)]] if choices else [])]


def _labels(manifest: Manifest, split: Split, labels: np.ndarray) -> list[Any]:
    """Return the labels as the rows may write them: names, lists of names, or numbers; None for a missing one."""
    present = manifest.kind.has_label(labels) & split.labelled
    rows = named_labels(labels, manifest.task.labels)
    return [row if is_there else None for row, is_there in zip(rows, present, strict=True)]


def _values(manifest: Manifest, target: str, columns: dict[str, Any]) -> Any:
    """Return a target, a number or a list of numbers for each row. Raises `BadCache` where one is not finite."""
    stored = columns[_stored(target)]
    if not np.isfinite(stored).all():
        raise BadCache(
            f"{target} of example {columns['example_id'][0]} or one after it is not finite. Verify the cache"
        )
    if target == "score":
        return manifest.kind.predictions(stored).astype(np.float64)
    if target == "probabilities":
        return list(manifest.kind.probabilities(stored))
    if target == "logprobs":
        return list(manifest.kind.log_probabilities(stored))
    return list(stored.astype(np.float32))
