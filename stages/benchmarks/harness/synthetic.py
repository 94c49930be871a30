"""Caches of random numbers in the shape of real ones; speed does not depend on the values."""

import copy
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.format.columns import ColumnType, cls_column, column_types
from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.format.manifest import FORMAT_VERSION, Manifest, ModelRecord, ShardRecord, SplitRecord, TaskRecord
from pipeline.cache.teacher_files import write_teacher_files
from pipeline.cache.writer import CacheWriter
from pipeline.data.ragged import Column, Ragged
from pipeline.data.splits import ROW_HASH_BYTES, digest_of, row_hash, shard_ranges
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.errors import BadOption, one_line
from pipeline.models.checkpoints import Head, build_classifier, load_config, load_tokenizer, locate
from pipeline.models.encoders import depth_of
from pipeline.system.digests import config_digest, tokenizer_digest, weights_digest
from pipeline.teacher.forward import BATCHING

LABELS = ("entailment", "neutral", "contradiction")
MAX_LENGTH = 128
POSITIONS = 512  # tokens that a BERT accepts
MNLI_ROWS = 392_702
SHARD_ROWS = 16_384
DEV_ROWS = 64
FIRST_TOKEN, LOWEST_TOKEN = 101, 1000  # [CLS] and the first word piece of BERT's vocabulary
# Tokens of RTE's training pairs, cut at 128: every twentieth of the distribution, measured on the 2,490 of GLUE.
RTE = (13, 29, 33, 37, 40, 43, 45, 47, 50, 53, 56, 59, 62, 67, 72, 85, 103, 120, 128, 128, 128)
# MultiNLI's premises have 22.3 words in the mean and its hypotheses 11.4 (Williams et al. 2018), about 1.1 word
# pieces each, and three special tokens: 40. Lognormal, with a twentieth above 76.
MNLI_MEAN, MNLI_SIGMA = 40.0, 0.45
CORPORA = ("mnli", "rte")


def token_lengths(source: str, count: int, seed: int = 0) -> np.ndarray:
    """Draw the tokens of examples, int64 [count], as in "rte", "mnli", or a file of one number per line; cut at 128.

    Raises `BadOption` for a file that holds anything but numbers from 1 to 512.
    """
    draw = np.random.default_rng(seed)
    if source == "mnli":
        lengths = draw.lognormal(np.log(MNLI_MEAN) - MNLI_SIGMA**2 / 2, MNLI_SIGMA, count)
    elif source == "rte":
        lengths = np.interp(draw.random(count) * (len(RTE) - 1), np.arange(len(RTE)), RTE)
    else:
        lengths = draw.choice(_read(source), count)
    return np.clip(np.rint(lengths), 3, MAX_LENGTH).astype(np.int64)


def _read(source: str) -> np.ndarray:
    """Return the lengths in a file, one per line. Raises `BadOption` for anything else."""
    path = Path(source)
    if not os.path.isfile(source):  # Path("") is a directory, and Path.is_file raises for a name that is too long
        meant = source.lower() if source.lower() in CORPORA else "mnli"
        reason = "is a directory" if os.path.isdir(source) else "is not a file"
        raise BadOption(f"--lengths {source or repr(source)} {reason}. Try --lengths {meant}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BadOption(f"--lengths {path} cannot be read ({reason}). Try --lengths mnli") from error
    lengths = [_length(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not lengths:
        raise BadOption(f"--lengths {path} is empty. Try --lengths mnli")
    return np.array(lengths)


def _length(path: Path, number: int, line: str) -> int:
    """Return the length in one line of the file. Raises `BadOption` unless it is one."""
    with suppress(ValueError):
        if 1 <= (length := int(line)) <= POSITIONS:
            return length
    text = one_line(line, 40) or "no number"
    raise BadOption(
        f"--lengths {path} holds {text} in line {number}; lengths are whole numbers from 1 to {POSITIONS}, one per "
        "line. Change it, or try --lengths mnli"
    )


def teacher_config(model: str) -> Any:
    """Return the configuration of a teacher: "base" is BERT-base, "demo" the packaged six-layer BERT."""
    from transformers import BertConfig

    config = BertConfig() if model == "base" else load_config(locate("demo"))
    Head(len(LABELS), LABELS, SINGLE_LABEL.problem_type).configure(config)
    return config


def narrow(config: Any) -> Any:
    """Return a copy with few tokens and narrow feed-forwards, so that the teacher adds little to a cache's size."""
    config = copy.deepcopy(config)
    config.update({"vocab_size": 2000, "intermediate_size": 64})
    return config


def token_rows(lengths: Sequence[int] | np.ndarray, vocabulary: int, seed: int = 0) -> Ragged:
    """Return random tokens after a [CLS] token: one row for each of the lengths."""
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = np.random.default_rng(seed).integers(LOWEST_TOKEN, vocabulary, offsets[-1], np.int32)
    values[offsets[:-1]] = FIRST_TOKEN
    return Ragged(values, offsets)


def types_of(config: Any, layers: Sequence[int]) -> dict[str, ColumnType]:
    """Return the types of the columns that `RandomColumns` makes for this teacher."""
    return column_types(
        num_logits=len(LABELS),
        label_dtype=SINGLE_LABEL.label_dtype,
        token_types=True,
        layers=layers,
        hidden=config.hidden_size,
        dtype="float16",
    )


def identity_of(layers: Sequence[int], shard_rows: int) -> CacheIdentity:
    """Return the identity of such a cache, without the digests of its teacher and rows."""
    return CacheIdentity(
        format=FORMAT_VERSION,
        teacher_weights="",
        teacher_config="",
        teacher_tokenizer="",
        splits={},
        max_length=MAX_LENGTH,
        layers=tuple(layers),
        labels=LABELS,
        shard_rows=shard_rows,
        dtype="float16",
        compute="float32",
        batching=BATCHING,
        sequences=1,
        kind=SINGLE_LABEL.name,
    )


class RandomColumns:
    """Columns of random numbers for shards; [CLS] vectors are one block, rotated by a row from layer to layer."""

    def __init__(self, config: Any, lengths: np.ndarray, layers: Sequence[int], shard_rows: int):
        self.config, self.lengths, self.layers = config, lengths, layers
        draw = np.random.default_rng(1)
        self.block = draw.uniform(-1, 1, (min(shard_rows, len(lengths)), config.hidden_size)).astype(np.float16)

    def rows(self, start: int, stop: int) -> dict[str, Column]:
        """Return the columns of examples start to stop − 1."""
        count = stop - start
        draw = np.random.default_rng(start)
        tokens = token_rows(self.lengths[start:stop], self.config.vocab_size, start)
        hashes = b"".join(row_hash(tokens[row]) for row in range(count))
        columns: dict[str, Column] = {
            "example_id": np.arange(start, stop, dtype=np.int64),
            "row_hash": np.frombuffer(hashes, np.uint8).reshape(count, ROW_HASH_BYTES),
            "input_ids": tokens,
            "token_type_ids": Ragged(np.zeros(len(tokens.values), np.int8), tokens.offsets),
            "label": draw.integers(0, len(LABELS), count),
            "logits": draw.standard_normal((count, len(LABELS)), np.float32),
        }
        return columns | {
            cls_column(layer): np.roll(self.block, start + layer, axis=0)[:count] for layer in self.layers
        }


def synthetic_cache(
    directory: Path,
    config: Any,
    lengths: np.ndarray,
    *,
    dev_lengths: np.ndarray | None = None,
    container: str = "arrow",
    layers: Sequence[int] | None = None,
    shard_rows: int = SHARD_ROWS,
) -> Manifest:
    """Write a complete cache, with a teacher/ of random weights; a student can be trained from it.

    Training examples have these lengths; the dev split has the first 64 of them, or `dev_lengths`. The tokenizer is
    that of the packaged BERT. Raises `MissingExtra` if it is not installed.
    """
    tokenizer, model = load_tokenizer(locate("demo")), build_classifier(config)
    depth = depth_of(config)
    layers = tuple(range(1, depth)) if layers is None else tuple(layers)
    identity = identity_of(layers, shard_rows)
    writer = CacheWriter(directory, identity, container)
    writer.start()
    lengths_by_split = {"train": lengths, "dev": lengths[:DEV_ROWS] if dev_lengths is None else dev_lengths}
    splits = {
        name: SplitRecord(True, _write_split(writer, name, config, split_lengths, layers, shard_rows))
        for name, split_lengths in lengths_by_split.items()
    }
    identity = replace(
        identity,
        teacher_weights=weights_digest(model.state_dict()),
        teacher_config=config_digest(config),
        teacher_tokenizer=tokenizer_digest(tokenizer),
        splits={name: digest_of([shard.rows_digest for shard in split.shards]) for name, split in splits.items()},
    )
    manifest = Manifest(
        identity,
        container,
        TaskRecord("mnli", LABELS, ("accuracy",)),
        ModelRecord(config.model_type, depth, config.hidden_size, len(LABELS), 0, 2, config.vocab_size),
        splits,
        writer.write_teacher(lambda teacher: write_teacher_files(teacher, model, tokenizer)),
        made={"command": "benchmark"},
    )
    writer.finish(manifest)
    return manifest


def _write_split(
    writer: CacheWriter, name: str, config: Any, lengths: np.ndarray, layers: Sequence[int], shard_rows: int
) -> tuple[ShardRecord, ...]:
    """Write the shards of a split of random columns; return their records."""
    columns, types = RandomColumns(config, lengths, layers, shard_rows), types_of(config, layers)
    return tuple(
        writer.write_shard(name, index, columns.rows(start, stop), types)
        for index, (start, stop) in enumerate(shard_ranges(len(lengths), shard_rows))
    )
