"""Reading a cache to its last byte."""

from pipeline.cache.format.columns import LOGITS, cls_column
from pipeline.cache.reader import Cache


def check_everything(cache: Cache) -> None:
    """Compare every column of every split with its digest. Raises `BadCache`."""
    columns = [*cache.input_columns, LOGITS, *map(cls_column, cache.manifest.layers)]
    with cache.check_in_background(dict.fromkeys(cache.splits, columns)) as check:
        check.wait()
