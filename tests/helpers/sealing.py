"""What someone who gives a damaged cache right digests would do, and a small cache to do it to."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.columns import column_types
from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.format.manifest import FileRecord, Manifest, ModelRecord, SplitRecord, TaskRecord
from pipeline.cache.writer import CacheWriter
from pipeline.data.ragged import Ragged
from pipeline.data.splits import row_hashes
from pipeline.data.task_kinds import implied_kind
from pipeline.system.digests import json_digest

LABELS = ("no", "yes", "perhaps")


def random_columns(
    rows: int, first: int, hidden: int, layers: int, seed: int = 0, sequences: int = 1
) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    lengths = np.array([draw.integers(1, 5, sequences) for _ in range(rows)], np.int32) if sequences > 1 else None
    sizes = [draw.integers(1, 9) for _ in range(rows)] if lengths is None else lengths.sum(axis=1)
    tokens = Ragged.from_lists([draw.integers(0, 32, size) for size in sizes], np.int32)
    hashes = b"".join(row_hashes(tokens, lengths))
    columns: dict[str, Any] = {
        "example_id": np.arange(first, first + rows),
        "row_hash": np.frombuffer(hashes, np.uint8).reshape(rows, 16),
        "input_ids": tokens,
        "token_type_ids": Ragged(draw.integers(0, 2, tokens.offsets[-1]).astype(np.int8), tokens.offsets),
        "label": draw.integers(0, 3, rows),
        "logits": draw.random((rows, 3), np.float32),
    }
    columns |= {} if lengths is None else {"sequence_lengths": lengths}
    return columns | {
        f"cls_{n:02d}": draw.random((rows, sequences * hidden), np.float32).astype(np.float16)
        for n in range(1, layers + 1)
    }


def write_cache(
    directory: Path,
    container_name: str,
    splits: dict[str, int],
    shard_rows: int,
    hidden: int = 4,
    layers: int = 2,
    sequences: int = 1,
) -> Manifest:
    """A finished cache of random columns whose teacher is a record only; of questions for 3 `sequences`."""
    types = column_types(
        num_logits=3,
        label_dtype="int64",
        token_types=True,
        layers=range(1, layers + 1),
        hidden=hidden,
        dtype="float16",
        sequences=sequences,
    )
    labels = LABELS if sequences == 1 else ("A", "B", "C")
    files = {f"layer-{n:02d}.safetensors": FileRecord(8, "0" * 64) for n in range(1, layers + 2)}
    identity = CacheIdentity(
        format=2,
        teacher_weights="1" * 64,
        teacher_config="2" * 64,
        teacher_tokenizer="3" * 64,
        splits={},
        max_length=16,
        layers=tuple(range(1, layers + 1)),
        labels=labels,
        shard_rows=shard_rows,
        dtype="float16",
        compute="float32",
        batching="by length, 64, last layer for [CLS]",
        sequences=sequences,
        kind="single-label" if sequences == 1 else "multiple-choice",
    )
    writer = CacheWriter(directory, identity, container_name)
    writer.start()
    records = {}
    for name, rows in splits.items():
        starts = range(0, rows, shard_rows)
        shards = [
            writer.write_shard(
                name, n, random_columns(min(shard_rows, rows - start), start, hidden, layers, n, sequences), types
            )
            for n, start in enumerate(starts)
        ]
        records[name] = SplitRecord(True, tuple(shards))
    digests = {name: split_digest([shard.rows_digest for shard in r.shards]) for name, r in records.items()}
    manifest = Manifest(
        replace(identity, splits=digests),
        container_name,
        TaskRecord("toy", labels, ("accuracy",)),
        ModelRecord("bert", layers + 1, hidden, 3, 0, 2, 32),
        records,
        files,
        {"dev": {"accuracy": 0.5}},
        made={"command": "none"},
    )
    writer.finish(manifest)
    return manifest


def split_digest(digests: list[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def seal(cache: Path, change: Callable[[Any], object]) -> None:
    """Change a manifest as someone would who recomputes the digests in it (of splits too: `seal_splits`): `change`
    gets its JSON value."""
    value = json.loads((cache / "manifest.json").read_text())
    change(value)
    with contextlib.suppress(Exception):
        value["identity"] = json_digest(value["fields"])
        shards = [shard for split in value["splits"].values() for shard in split["shards"]]
        digests = [json_digest({name: part["sha256"] for name, part in shard["parts"].items()}) for shard in shards]
        value["content"] = hashlib.sha256("".join(digests).encode()).hexdigest()
    write_sealed(cache, value)


def seal_splits(value: Any) -> None:
    """Give each split of a manifest the digest of its shards' rows."""
    with contextlib.suppress(Exception):
        for name, split in value["splits"].items():
            value["fields"]["splits"][name] = split_digest([shard["rows_digest"] for shard in split["shards"]])


def write_sealed(cache: Path, value: Any) -> None:
    """Write a manifest with the digest of its own bytes."""
    value = {name: item for name, item in value.items() if name != "digest"}
    seal_text(cache, json.dumps(value, ensure_ascii=False)[:-1])


def seal_text(cache: Path, text: str) -> None:
    """Write as a manifest a text of which only the digest and the closing bracket are missing."""
    body = text.encode(errors="surrogatepass")
    digest = hashlib.sha256(body).hexdigest()
    (cache / "manifest.json").write_bytes(body + f',\n "digest": "{digest}"\n}}\n'.encode())


def seal_teacher(cache: Path) -> None:
    """Give the files of teacher/ the digests of what now lies there."""

    def change(value: Any) -> None:
        for path in (cache / "teacher").iterdir():
            data = path.read_bytes()
            value["teacher_files"][path.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    seal(cache, change)


def seal_shard(cache: Path, file: str, moved: bool = True) -> None:
    """Give a shard's file the digests of what now lies in it, up to the identity; its parts too where it is `moved`."""
    data = (cache / file).read_bytes()

    def change(value: Any) -> None:
        shard = next(s for split in value["splits"].values() for s in split["shards"] if s["file"] == file)
        shard.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        if moved:
            with contextlib.suppress(ValueError, OSError):
                found = CONTAINERS[value["container"]].layout(cache / file, _types(value), shard["rows"])
                for part, (offset, size) in found.items():
                    shard["parts"][part].update(offset=offset, bytes=size)
        held = {}
        for part, extent in shard["parts"].items():
            held[part] = data[extent["offset"] : extent["offset"] + extent["bytes"]]
            extent["sha256"] = hashlib.sha256(held[part]).hexdigest()
        labels = np.frombuffer(held["label"][: len(held["label"]) // 8 * 8], "<i8").astype("<f8").tobytes()
        shard["rows_digest"] = hashlib.sha256(
            held["example_id"] + held["row_hash"] + held.get("text_hash", b"") + labels
        ).hexdigest()
        seal_splits(value)

    seal(cache, change)


def _types(value: Any) -> Any:
    return column_types(
        num_logits=value["model"]["classes"],
        label_dtype=implied_kind(value["task"]["labels"] or ()).label_dtype,
        token_types=value["model"]["token_types"] > 0,
        layers=value["fields"]["layers"],
        hidden=value["model"]["hidden"],
        dtype=value["fields"]["dtype"],
        texts=value["fields"].get("texts", 0),
    )
