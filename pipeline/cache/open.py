"""Opening caches, in a directory or published at a URL."""

from pathlib import Path

from pipeline.cache.reader import Cache, open_directory
from pipeline.cache.remote.published import open_published
from pipeline.cache.user_store import STORE_BYTES, check_store, default_store


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
