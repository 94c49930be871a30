"""Writing one shard: its columns into a container's file, and the record of that file."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pipeline.cache.format.columns import ColumnType, check_columns, parts_of
from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.manifest import Extent, ShardRecord
from pipeline.data.ragged import Column
from pipeline.data.splits import rows_digest
from pipeline.system.digests import bytes_digest, open_file_digest
from pipeline.system.files import write_file


def write_shard(
    path: Path, file: str, container_name: str, columns: Mapping[str, Column], types: Mapping[str, ColumnType]
) -> ShardRecord:
    """Write columns as one shard and return its record, in which `file` is its path in the cache. Raises OSError."""
    rows = len(columns["label"])
    check_columns(columns, types, rows)
    ordered = {name: columns[name] for name in types}
    container = CONTAINERS[container_name]
    with ThreadPoolExecutor(2) as threads:  # SHA-256 runs while the disk writes, and on two cores
        parts = threads.submit(lambda: {part: bytes_digest(values) for part, values in parts_of(ordered).items()})
        file_digest: Future[str] = Future()

        def write(temporary: Path) -> None:
            nonlocal file_digest
            container.write(temporary, ordered)
            file_digest = threads.submit(open_file_digest, temporary.open("rb"))

        write_file(path, write)
    positions = container.layout(path, types, rows)
    extents = {part: Extent(*positions[part], digest) for part, digest in parts.result().items()}
    return ShardRecord(file, rows, path.stat().st_size, file_digest.result(), rows_digest(columns), extents)
