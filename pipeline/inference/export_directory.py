"""The directory of an export: the files of a model, a README, and export.json, written last.

export.json says what was exported from what, and has the digest of every other file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.cache.teacher_config import CONFIG, TOKENIZER_CONFIG, is_private, read_object
from pipeline.errors import BadOption, one_line
from pipeline.inference.model_source import EXPORT
from pipeline.system.digests import file_digest
from pipeline.system.files import write_json
from pipeline.system.progress import note
from pipeline.system.system_errors import raise_if_of_system

_CODE = ".py"  # which a custom tokenizer saves


def weight_bytes(directory: Path) -> int:
    """Return the size of the weights in a directory."""
    return sum(file.stat().st_size for ending in ("*.safetensors", "*.onnx") for file in directory.glob(ending))


def write_surroundings(directory: Path, config: Any, tokenizer: Any) -> None:
    """Write configuration and tokenizer, without entries that name code or paths of this machine."""
    config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    for name in (CONFIG, TOKENIZER_CONFIG):
        value = {key: item for key, item in read_object(directory / name).items() if not is_private(key)}
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    for file in directory.iterdir():
        if file.suffix == _CODE:
            file.unlink()


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """Write export.json: the record, and the digests of the other files."""
    digests = {file.name: file_digest(file) for file in sorted(directory.iterdir())}
    write_json(directory / EXPORT, {**record, "files": digests})


def finished_export(directory: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return export.json of a complete export with the fields of `key`; None where nothing is there yet.

    Raises `BadOption` for a directory with anything else.
    """
    if not directory.exists() and not directory.is_symlink():
        return None
    way_on = "Name another --out, or remove it"
    try:
        record = read_object(directory / EXPORT)
        files = record["files"]
        actual = {file.name: file_digest(file) for file in directory.iterdir() if file.name != EXPORT}
        if files != actual:
            raise ValueError("its files are not those that were written")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise_if_of_system(error)
        raise BadOption(f"{one_line(directory)} exists and is not a complete export. {way_on}") from error
    for name, value in key.items():
        if record.get(name) != value:
            found, wanted = (one_line(json.dumps(item), 60) for item in (record.get(name), value))
            raise BadOption(f"{one_line(directory)} holds another export ({name}: {found} ≠ {wanted}). {way_on}")
    note(f"{one_line(directory)} holds this export, complete: nothing was written")
    return record
