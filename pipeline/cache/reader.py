"""Finished caches: opening one checks every file's size and every shard's schema, and maps its bytes unread."""

import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cache.background_check import BackgroundCheck
from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.manifest import TEACHER, FileRecord, Manifest, ShardRecord
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.shard_sources import LocalSource, Source
from pipeline.cache.shards import open_split
from pipeline.cache.teacher_config import check_teacher_config
from pipeline.cache.teacher_files import layer_of, load_student
from pipeline.cache.teacher_tokens import TeacherTokens
from pipeline.cache.user_store import VerifiedDigests
from pipeline.data.splits import SEQUENCE_LENGTHS, Split
from pipeline.data.tasks import role_of
from pipeline.errors import OTHER_BYTES, BadCache, BadOption, DamagedFile, LinkedFile
from pipeline.system.digests import intact
from pipeline.system.mapped_files import file_state
from pipeline.system.system_errors import raise_if_of_system

if TYPE_CHECKING:
    import datasets
    from torch import nn

    from pipeline.cache.torch_dataset import CacheDataset


@dataclass(frozen=True)
class Cache:
    """A finished cache. `splits` maps each name to its examples with their targets; `teacher` is a directory."""

    location: str
    manifest: Manifest
    source: Source
    teacher: Path
    verified: VerifiedDigests

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The splits by name, in the manifest's order."""
        return {name: open_split(self.source, self.manifest, name) for name in self.manifest.splits}

    @property
    def identity(self) -> str:
        """The digest of everything that the cache was made from."""
        return self.manifest.identity

    @property
    def run_inputs(self) -> dict[str, str]:
        """The digests by which a run knows what it was trained on."""
        return {"cache": self.identity}

    @property
    def tokens(self) -> Any:
        """The tokens that a student reads: their tokenizer, padding and segments."""
        return TeacherTokens(self.manifest, self.teacher)

    @property
    def remarks(self) -> list[str]:
        """Facts that a user should know before a training."""
        return []

    def check_in_background(self, columns: Mapping[str, Collection[str]]) -> BackgroundCheck:
        """Return a check of these columns (split -> names) and of the rows that they belong to, not yet started."""
        return BackgroundCheck(self.splits, self.source, columns, self.verified)

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns of the inputs of a model."""
        names = ("input_ids", "token_type_ids", SEQUENCE_LENGTHS)
        return tuple(name for name in names if name in self.manifest.column_types())

    def dataset(self, split: str = "train", columns: Sequence[str] | None = None) -> "CacheDataset":
        """Return a split as a map-style data set of torch, or several as one: `train+transfer`.

        An item is a dict of tensors: `input_ids`, `attention_mask` and, where the model has them, `token_type_ids`,
        int64 [T], or [S, T] where an example is S sequences; `labels`, a number or [W], in the type of the cache; and
        the columns that are named, by default every target: `logits` float32 [C], `cls_02` [H] or [S, H]; one more to
        name is `example_id`. Its `collate` makes a batch of items.

        A shard is compared with its digests before its first use in a process: getting an item raises `BadCache` too.

        Raises `BadOption` for a split or column that does not exist, and `BadCache` for a cache without tokens.
        """
        from pipeline.cache.torch_dataset import CacheDataset  # torch takes seconds to import

        return CacheDataset(self, split, columns)

    def to_datasets(self, split: str = "train", columns: Sequence[str] | None = None) -> "datasets.Dataset":
        """Return a split, or several as one, as a `datasets.Dataset` on the mapped bytes of the cache, without a copy.

        `columns` are by default all but the hashes; texts are strings. Every shard is compared with its digests first.
        Raises `BadOption` for a split or column that does not exist, and `BadCache` naming a damaged shard.
        """
        from pipeline.cache.arrow_dataset import arrow_dataset

        return arrow_dataset(self, split, columns)

    def initial_student(self, layers: int | Sequence[int]) -> "nn.Module":
        """Return a model with the teacher's first layers, or those of these numbers, its embeddings and its head.

        It is of the transformers class of the teacher, on the CPU. The files are compared with their digests first.
        Raises `BadOption` for layers that the teacher does not have or that are named twice, and `BadCache` for a cache
        without a teacher.
        """
        numbers, depth = tuple(range(1, layers + 1) if isinstance(layers, int) else layers), self.manifest.model.depth
        if not depth:
            raise BadCache(f"{self.location} does not have a teacher: its targets were made elsewhere. Load a model")
        if not numbers or min(numbers) < 1 or max(numbers) > depth:
            raise BadOption(f"{self.location} has a teacher of the layers 1 to {depth}, and {layers} are asked for")
        if len(set(numbers)) < len(numbers):
            raise BadOption(f"the layers {numbers} name one twice. Name each layer of the teacher once")
        self.check_teacher(numbers)
        return load_student(self.teacher, numbers, depth)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # another process reads for itself

    def check_teacher(self, layers: Collection[int]) -> None:
        """Compare the files of teacher/ that a student of these layers starts from with their digests.

        Raises `BadCache` naming the first that differs, or if their model is not the one that the manifest describes.
        """
        records = {name: r for name, r in self.manifest.teacher_files.items() if layer_of(name) in (0, *layers)}
        self.source.need_teacher(records)
        for name, record in records.items():
            _check_file(self.teacher / name, record, self.verified, self.location)
        check_teacher_config(self.teacher, self.manifest)


def _check_file(path: Path, record: FileRecord, verified: VerifiedDigests, location: str) -> None:
    """Raise `DamagedFile` unless the file has its digest, now or when it was last verified."""
    try:
        _check_size(path, record, location)
        state = file_state(path.lstat())
        if record.sha256 in verified.lookup(path, state):
            return
        if not intact(path, record.sha256):
            raise ValueError(OTHER_BYTES)
    except (OSError, ValueError) as error:
        raise_if_of_system(error)
        raise DamagedFile(path, error, location) from error
    verified.record(path, state, [record.sha256])


def open_directory(location: str | Path, store: Path) -> Cache:
    """Return the cache in a directory of this machine. Raises `BadCache` (see `open_cache`)."""
    directory = Path(location)
    manifest = read_manifest(directory)
    for problem in schema_problems(directory, manifest, [shard.file for _, shard in manifest.shards()]).values():
        raise problem
    return Cache(str(location), manifest, LocalSource(directory), directory / TEACHER, VerifiedDigests(store))


def schema_problems(directory: Path, manifest: Manifest, files: Iterable[str] | None = None) -> dict[str, DamagedFile]:
    """Return {path in the cache: error} of files (all, or these) of another size, type or schema; reads no data.

    Raises `LinkedFile` for a link, and OSError of a system that refuses.
    """
    problems, records = {}, manifest.files()
    shards = {shard.file: shard for _, shard in manifest.shards()}
    for file in records if files is None else files:
        try:
            _check_size(directory / file, records[file], directory)
            if file in shards:
                _check_layout(directory / file, manifest, shards[file])
        except (OSError, ValueError) as error:
            raise_if_of_system(error)
            problems[file] = DamagedFile(directory / file, error, directory)
    return problems


def _check_size(path: Path, record: FileRecord, cache: str | Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or path.parent.is_symlink():
        raise LinkedFile(path, cache)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size != record.bytes:
        raise ValueError(f"its size is {status.st_size}, not {record.bytes} bytes")


def _check_layout(path: Path, manifest: Manifest, shard: ShardRecord) -> None:
    actual = CONTAINERS[manifest.container].layout(path, manifest.column_types(), shard.rows)
    expected = {part: (extent.offset, extent.bytes) for part, extent in shard.parts.items()}
    for part in expected:
        if actual[part] != expected[part]:
            raise ValueError(f"{part} is not where the manifest says")


def splits_of_role(splits: dict[str, Split], name: str) -> dict[str, Split]:
    """Return the split called `name`, or all splits of the role dev or test. Raises `BadOption` if there is none."""
    chosen = {key: split for key, split in splits.items() if name in (key, role_of(key))}
    if not chosen:
        raise BadOption(f"there is no split {name}; there are {', '.join(splits)}. Use --split with one of these")
    return chosen
