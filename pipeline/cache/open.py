"""Opening caches, in a directory or published at a URL."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.cache.joined_cache import join_caches
from pipeline.cache.reader import Cache, open_directory
from pipeline.cache.remote.published import open_published
from pipeline.cache.user_store import STORE_BYTES, check_store, default_store
from pipeline.config.options import values_of
from pipeline.errors import BadOption


def open_cache(location: str | Path, store: Path | None = None, store_bytes: int = STORE_BYTES) -> Cache:
    """Return the cache in a directory, or the one at a URL, whose parts are downloaded into `store` when they are read.

    Raises `BadCache` unless a finished cache is there that agrees with its manifest; for a URL `BadPlace` and
    `BadOption` too.
    """
    given, store = store, store or default_store()
    if given or "://" in str(location):
        check_store(store)
    if "://" in str(location):
        return open_published(str(location), store, store_bytes)
    return open_directory(location, store)


def open_caches(locations: str | Sequence[str], store: Path | None = None, store_bytes: int = STORE_BYTES) -> Cache:
    """Return the cache at a location, or those at several joined.

    Raises as `open_cache` and `join_caches` do, and `BadOption` where none is named.
    """
    names = values_of(locations)
    if not names:
        raise BadOption("no cache is named. Name at least one")
    return join_caches([open_cache(location, store, store_bytes) for location in names])
