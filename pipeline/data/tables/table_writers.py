"""Tables of rows written batch by batch, in the format that the name of the file ends in."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ENDINGS = (".parquet", ".csv", ".jsonl")


def write_table(path: Path, ending: str, schema: Any, batches: Iterable[Any]) -> None:
    """Write pyarrow record batches of this schema into a file. Raises OSError.

    A csv file holds a list as JSON and a missing value as nothing; metadata of the schema is kept in parquet alone.
    """
    if ending == ".parquet":
        _write_parquet(path, schema, batches)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if ending == ".csv":
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(schema.names)
            for batch in batches:
                rows.writerows([_cell(value) for value in row.values()] for row in batch.to_pylist())
        else:
            for batch in batches:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())


def _write_parquet(path: Path, schema: Any, batches: Iterable[Any]) -> None:
    from pyarrow.parquet import ParquetWriter

    with ParquetWriter(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
