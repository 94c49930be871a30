"""A check of the data that a run reads against its digests, in the background while the run continues.

A run relies on checked bytes only: before it writes anything that stays, it calls `wait`.
"""

import threading
from collections.abc import Collection, Mapping

from pipeline.cache.format.columns import ROW_COLUMNS
from pipeline.cache.shard_sources import Source
from pipeline.cache.shards import Shard
from pipeline.cache.user_store import VerifiedDigests
from pipeline.data.splits import Split, rows_digest
from pipeline.errors import OTHER_BYTES
from pipeline.system.digests import bytes_digest


class BackgroundCheck:
    """One pass over `columns` (split -> names) of a cache. Bytes that `verified` lists are not read again.

    Used as a context: entering starts the thread, leaving stops it. Raises `BadOption` for a published cache whose
    columns are larger than the user's store may be.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        source: Source,
        columns: Mapping[str, Collection[str]],
        verified: VerifiedDigests,
    ):
        self.verified = verified
        self.work = [
            (shard, [*dict.fromkeys([*filter(shard.types.__contains__, ROW_COLUMNS), *names])])
            for split, names in columns.items()
            for shard in splits[split].shards
            if isinstance(shard, Shard)
        ]
        self.source = source
        self.parts = [
            (shard.record, part)
            for shard, names in self.work
            for name in names
            for part in shard.types[name].parts(name)
        ]
        self.source.need(self.parts)
        self.problem: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background-check", daemon=True)

    def __enter__(self) -> "BackgroundCheck":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def poll(self) -> None:
        """Raise the `BadCache` found so far, if any."""
        if self.problem:
            raise self.problem

    def wait(self) -> None:
        """Wait until everything has been checked. Raises `BadCache` naming the damaged shard."""
        self._thread.join()
        self.poll()

    def _run(self) -> None:
        try:
            with self.source.ahead(self.parts):
                for shard, names in self.work:
                    if self._stop.is_set():
                        return
                    verify_shard(shard, names, self.verified)
        except Exception as error:  # raised again by poll and wait, in the thread that trains
            self.problem = error


def verify_shard(shard: Shard, names: Collection[str], verified: VerifiedDigests) -> None:
    """Compare the bytes of a shard's columns with their digests, and its rows with the identity's digest.

    Raises `BadCache` with the shard, the column, and the example where its row hash differs.
    """
    record, source = shard.record, shard.source
    parts = [part for name in names for part in shard.types[name].parts(name)]
    damaged = False
    for piece in source.pieces(record, parts):
        if piece.sha256 in verified.lookup(piece.path, piece.state):
            continue
        if damaged := bytes_digest(piece.data) != piece.sha256:
            del piece  # closes its mapping before the file is read again, through that of the rows
            break
        verified.record(piece.path, piece.state, [piece.sha256])
    if damaged:
        raise source.damaged(record, shard.what_differs() or OTHER_BYTES)
    if rows_digest(shard) != record.rows_digest:
        raise source.damaged(record, f"its rows are not those that the identity has for split {shard.split}")
