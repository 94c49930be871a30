"""Digests of files, JSON values, weights and tokenizers: always SHA-256, in hexadecimal."""

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.system.system_errors import raise_if_of_system

# Keys that transformers writes into a config without changing the model.
_CONFIG_NOISE = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures")


def canonical_json(value: Any) -> str:
    """Return the one text of a JSON value: keys sorted, no spaces, ASCII. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError."""
    return open_file_digest(path.open("rb"))


def open_file_digest(file: BinaryIO) -> str:
    """Return the SHA-256 of the file from its current position to the end, then close it."""
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type, unused-ignore]


def bytes_digest(values: Any) -> str:
    """Return the SHA-256 of the bytes of a contiguous array."""
    return hashlib.sha256(memoryview(values).cast("B")).hexdigest()


def intact(path: Path, digest: str) -> bool:
    """Return whether `path` is a regular file (not a link) with this digest. Raises what the system refuses."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and file_digest(path) == digest
    except OSError as error:
        raise_if_of_system(error)
        return False


def weights_digest(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a state dict: names, types, shapes and bytes in order of name, however split into files."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(memoryview(tensor.flatten().numpy()).cast("B") if tensor.numel() else b"")
    return digest.hexdigest()


def config_digest(config: Any) -> str:
    """Return the SHA-256 of a transformers configuration without the keys that do not change the model."""
    fields = {name: value for name, value in config.to_dict().items() if name not in _CONFIG_NOISE}
    return json_digest(json.loads(json.dumps(fields, default=str)))


def tokenizer_digest(tokenizer: Any, inputs: Iterable[str] | None = None) -> str:
    """Return the SHA-256 of a fast tokenizer's serialisation, without padding and truncation: every call sets these.

    `inputs` replaces the names of the inputs that it makes.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    backend.update(truncation=None, padding=None)
    names = sorted(tokenizer.model_input_names if inputs is None else inputs)
    return json_digest({"backend": backend, "special": tokenizer.special_tokens_map, "inputs": names})
