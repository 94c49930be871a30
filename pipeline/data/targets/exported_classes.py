"""The classes that `cache export` notes in a parquet file, in the order of its lists of targets."""

import json
from collections.abc import Iterable

from pipeline.data.tables.places import expand, is_url, opened, suffix_of
from pipeline.errors import BadOption


def exported_classes(places: Iterable[str]) -> tuple[str, ...]:
    """Return the classes noted in these files; none where a file does not note any.

    Raises `BadOption` for files that note different ones.
    """
    files = {file for place in places for file in expand((place,))}
    noted = {_noted(file) for file in files if suffix_of(file) == ".parquet"}
    if len(noted) > 1:
        raise BadOption("files of cache export have their classes in different orders. Name those of one cache")
    return next(iter(noted), ())


def _noted(place: str) -> tuple[str, ...]:
    import pyarrow
    import pyarrow.parquet

    try:
        with opened(place) as stream:
            metadata = pyarrow.parquet.read_schema(stream if is_url(place) else place).metadata or {}
        names = json.loads(metadata.get(b"labels", b"[]"))
    except (pyarrow.ArrowException, OSError, ValueError, RecursionError):  # another program's, or reported when read
        return ()
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and b"cache_identity" in metadata else ()
