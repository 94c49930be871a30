"""The tokenizer of the teacher inside a cache, with which the tokens of the cache were made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.format.manifest import Manifest
from pipeline.cache.teacher_files import copy_tokenizer
from pipeline.data.splits import Split
from pipeline.models.checkpoints import load_tokenizer


@dataclass(frozen=True)
class TeacherTokens:
    """The tokens that a student reads where it has the tokenizer of the teacher."""

    manifest: Manifest
    directory: Path
    name = "teacher"

    @property
    def pad_id(self) -> int:
        """The token id to pad with."""
        return self.manifest.model.pad_id

    @property
    def segments(self) -> int:
        """The number of different segment ids; 0 without any."""
        return self.manifest.model.token_types

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, loaded. Raises `BadModel`."""
        return load_tokenizer(str(self.directory))

    @property
    def run_inputs(self) -> dict[str, str]:
        """The digests by which a run knows its tokens: none beside that of the cache."""
        return {}

    @property
    def max_length(self) -> int:
        """The number of tokens at which texts were cut."""
        return self.manifest.fields.max_length

    def longest(self, splits: Mapping[str, Split]) -> int:
        """Return the number of tokens of the longest sequence in these splits of the cache."""
        return max(int(split.lengths.max(initial=0)) for split in splits.values())

    def save(self, target: Path, segments: bool = True) -> None:
        """Copy the tokenizer's files into the directory of a student; see `copy_tokenizer`."""
        copy_tokenizer(self.directory, self.manifest.teacher_files, target, segments)
