"""Tokens that another tokenizer makes of the texts of a split: made once, and kept in the user's store.

`tokens/DIGEST/` has an Arrow file for each shard of the split, and index.json with their digests. It is complete or
absent; one that is damaged is made again, and the least recently used is removed where the store is full.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache.format.columns import ColumnType, token_columns
from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.remote.downloads import DownloadCache
from pipeline.cache.user_store import STORE_BYTES, VerifiedDigests, check_store, default_store
from pipeline.data.ragged import Column, Columns
from pipeline.data.splits import ROW_HASH_BYTES, SEQUENCE_LENGTHS, TEXT_HASH
from pipeline.errors import BadOption
from pipeline.system.digests import bytes_digest, file_digest
from pipeline.system.files import read_json, write_json
from pipeline.system.mapped_files import map_file
from pipeline.system.system_errors import raise_if_of_system, reason_of

ARROW, INDEX = CONTAINERS["arrow"], "index.json"
TOKEN_COLUMNS = ("row_hash", "input_ids", "token_type_ids", SEQUENCE_LENGTHS)


def token_types(segments: bool, sequences: int) -> dict[str, ColumnType]:
    """Return the columns of an entry: what identifies a row and its text, and the tokens."""
    types = {
        "example_id": ColumnType("int64"),
        TEXT_HASH: ColumnType("uint8", ROW_HASH_BYTES),
        "row_hash": ColumnType("uint8", ROW_HASH_BYTES),
    }
    return types | token_columns(segments, sequences)


@dataclass(frozen=True)
class TokenStore:
    """The tokens in the user's store, with everything else in it at most `limit` bytes."""

    store: Path
    limit: int

    @classmethod
    def of_user(cls, store: str | None = None, limit: int = STORE_BYTES) -> "TokenStore":
        """Return the tokens in the store of this name, or in the user's own. Raises `BadOption` for a file."""
        directory = Path(store) if store else default_store()
        check_store(directory)
        return cls(directory, limit)

    def get(
        self, key: str, types: Mapping[str, ColumnType], rows: Sequence[int], make: Callable[[], Iterator[Columns]]
    ) -> list[dict[str, Column]]:
        """Return the columns of each shard, of these numbers of rows; `make` computes them where they are not there.

        Processes that ask at the same time make them once. Raises `BadOption` for a store without room.
        """
        verified = VerifiedDigests(self.store)
        downloads = DownloadCache(self.store, self.limit, verified)
        shards: list[dict[str, Column]] | None = None

        def intact(directory: Path) -> bool:
            nonlocal shards
            shards = _read(directory, types, rows, verified)
            return shards is not None

        def write(directory: Path) -> None:
            digests = {}
            for number, columns in enumerate(make()):
                file = directory / f"{number:05d}{ARROW.suffix}"
                ARROW.write(file, columns)
                digests[file.name] = file_digest(file)
            write_json(directory / INDEX, digests)

        directory = self.store / "tokens" / key
        try:
            downloads.directory(directory, intact, write)
            if shards is None and not intact(directory):
                raise OSError(f"{directory} changed while it was read")
        except OSError as error:
            raise BadOption(
                f"the store {self.store} cannot keep the tokens of this student ({reason_of(error)}). Make room there, "
                "or name another directory with --store"
            ) from error
        assert shards is not None
        return shards


def _read(
    directory: Path, types: Mapping[str, ColumnType], rows: Sequence[int], verified: VerifiedDigests
) -> list[dict[str, Column]] | None:
    """Return the columns of each shard, as views of its bytes; None where anything is missing or damaged."""
    shards = []
    try:
        digests = read_json(directory / INDEX)
        for number, count in enumerate(rows):
            path = directory / f"{number:05d}{ARROW.suffix}"
            data, state = map_file(path)
            if (sha256 := digests[path.name]) not in verified.lookup(path, state):
                if bytes_digest(data) != sha256:
                    return None
                verified.record(path, state, [sha256])
            places = ARROW.layout(path, types, count)
            shards.append({name: _view(name, kind, data, places, count) for name, kind in types.items()})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise_if_of_system(error)
        return None
    return shards


def _view(name: str, kind: ColumnType, data: object, places: Mapping[str, tuple[int, int]], rows: int) -> Column:
    parts = [data[start : start + length] for start, length in (places[part] for part in kind.parts(name))]  # type: ignore[index]
    return kind.view(name, parts, rows)
