"""The configuration of a teacher that may come from anyone: read as plain JSON before transformers acts on it.

transformers allocates what a configuration requests, and some keys make it load code. So numbers and keys are checked
first, then compared with the manifest's record of the model.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.format.manifest_validation import check_nesting
from pipeline.errors import BadCache, DamagedCache, LinkedFile, one_line, shell_line
from pipeline.models.checkpoints import build_classifier, load_config
from pipeline.models.encoders import cut_config, depth_of, sequences_of
from pipeline.models.inputs import position_limit
from pipeline.system.system_errors import raise_if_of_system

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
# Keys that make transformers load code: a module of the checkpoint, or a kernel from the hub.
_CODE = {f"{prefix}{key}" for prefix in ("", "_") for key in ("attn_implementation", "experts_implementation")}
_CODE |= {"auto_map", "custom_pipelines", "quantization_config", "kernel_config"}
_FILES = ("tokenizer_file", "vocab_file", "merges_file")  # anywhere on a machine: save_pretrained leaves them out
_MOST_BYTES = 4 * 2**20


def is_private(key: str) -> bool:
    """Return whether a key of a configuration names code, or a path where the model once was."""
    return (
        (key in _CODE and key != "quantization_config")
        or key.endswith("_file")
        or key in ("name_or_path", "_name_or_path")
    )


def checked_config(directory: Path) -> Any:
    """Return the transformers configuration in a teacher/ directory.

    Raises OSError, ValueError, TypeError or `BadModel` for one that requests code or unbounded allocations.
    """
    check_plain(CONFIG, read_object(directory / CONFIG))
    settings = read_object(directory / TOKENIZER_CONFIG)
    check_plain(TOKENIZER_CONFIG, settings, numbers=False)
    for key, item in _entries(settings):
        if key in _FILES and item is not None:
            raise ValueError(f"{TOKENIZER_CONFIG} names a file ({key})")
    return load_config(str(directory))


def check_plain(name: str, values: dict[str, Any], numbers: bool = True) -> None:
    """Raise ValueError for a configuration that asks for code, or, with `numbers`, for unbounded allocations."""
    for key, item in _entries(values):
        if key in _CODE:
            raise ValueError(f"{name} asks for code of its own ({key})")
        if numbers and isinstance(item, int) and abs(item) > _most(key):
            raise ValueError(f"{key} of {name} is {item}")


def read_object(path: Path) -> dict[str, Any]:
    """Return the small JSON object in a file. Raises OSError or ValueError."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes")
    data = path.read_bytes()
    check_nesting(data)
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return value


def _most(key: str) -> int:
    """Return the highest number that a key may have: transformers makes lists of layers and labels."""
    return 10_000 if "layers" in key or "labels" in key else 2**24


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of every object in a JSON value; the items of a list are under the key of the list."""
    waiting = [("", value)]
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.items()
        elif isinstance(item, list):
            waiting += [(key, element) for element in item]
        if key:
            yield key, item


def check_teacher_config(directory: Path, manifest: Manifest) -> None:
    """Raise `BadCache` unless the model in teacher/ is the one that the manifest describes, and takes its rows."""
    record = manifest.model
    try:
        config = checked_config(directory)
        for file in read_object(directory / INDEX)["weight_map"].values():
            if file not in manifest.teacher_files or not file.endswith(".safetensors"):
                raise ValueError(f"{file!r:.60} is not a file of weights")
        facts = {"model_type": record.type, "hidden_size": record.hidden, "num_labels": record.classes}
        for name, expected in facts.items():
            if (value := getattr(config, name, None)) != expected:
                raise ValueError(f"{CONFIG} has {name} {value!s:.30}, not {expected!s:.30}")
        if sequences_of(config) != manifest.fields.sequences:
            raise ValueError(f"{CONFIG} is of a model of {sequences_of(config)} sequences per example")
        if depth_of(config) != record.depth:
            raise ValueError(f"{CONFIG} says {depth_of(config)} layers, and there are {record.depth}")
        with torch.device("meta"):
            skeleton = build_classifier(cut_config(config, 1))
        limits = {
            "token ids": (config.vocab_size, record.vocabulary),
            "token types": (getattr(config, "type_vocab_size", record.token_types), record.token_types),
            "positions": (position_limit(skeleton), manifest.fields.max_length),
        }
        for name, (available, needed) in limits.items():
            if available < needed:
                raise ValueError(f"{CONFIG} has {available} {name}, and the rows may use {needed}")
    except Exception as error:  # a malicious configuration can make transformers raise anything
        raise damaged_teacher(directory, error) from error


def damaged_teacher(directory: Path, error: Exception) -> BadCache:
    """Return the error for a damaged teacher/ directory of a cache.

    Raises `BadCache` for a package that cannot be imported, and what else says nothing about the bytes, as it is.
    """
    if isinstance(error, LinkedFile):
        raise error
    if isinstance(error, ImportError):
        raise BadCache(
            f"{directory}: the teacher in this cache cannot be loaded here ({one_line(error)}). "
            "Install what is missing, or reinstall this program with its packages"
        ) from error
    raise_if_of_system(error)
    return DamagedCache(
        f"{directory}: the teacher in this cache is damaged ({one_line(error)}). "
        f"See: {shell_line('cache', 'verify', directory.parent)}"
    )
