"""Comparing what a run reads with its digests, in the background, while the run goes on.

A run may count only on bytes that were checked: before it writes anything that stays, it calls `wait`.
"""

import threading
from collections.abc import Collection, Mapping

from pipeline.cache.format.columns import ROW_COLUMNS
from pipeline.cache.shards import Shard, Source
from pipeline.cache.user_store import VerifiedDigests
from pipeline.data.splits import Split, rows_digest
from pipeline.errors import OTHER_BYTES
from pipeline.system.digests import bytes_digest


class Verification:
    """One pass over `columns` (split -> names) of a cache. What `verified` knows is not read again.

    Used as a context: entering starts the thread, leaving stops it. Raises `BadOption` for a published cache of which
    more is to be read than the user's store may hold.
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
            (shard, [*dict.fromkeys([*ROW_COLUMNS, *names])])
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
        self._thread = threading.Thread(target=self._run, name="verification", daemon=True)

    def __enter__(self) -> "Verification":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def poll(self) -> None:
        """Raises the `BadCache` that was found so far, if any."""
        if self.problem:
            raise self.problem

    def wait(self) -> None:
        """Returns when everything has been checked. Raises `BadCache` naming the shard that is not what it was."""
        self._thread.join()
        self.poll()

    def _run(self) -> None:
        try:
            with self.source.ahead(self.parts):
                for shard, names in self.work:
                    if self._stop.is_set():
                        return
                    verify_shard(shard, names, self.verified)
        except Exception as error:  # told by poll and wait, in the thread that trains
            self.problem = error


def verify_shard(shard: Shard, names: Collection[str], verified: VerifiedDigests) -> None:
    """Compare what holds these columns of a shard with its digest, and its rows with the digest that the identity has.

    Raises `BadCache` with the shard, the column, and the example where its row hash tells.
    """
    record, source = shard.record, shard.source
    parts = [part for name in names for part in shard.types[name].parts(name)]
    damaged = False
    for piece in source.pieces(record, parts):
        if piece.sha256 in verified.lookup(piece.path, piece.state):
            continue
        if damaged := bytes_digest(piece.data) != piece.sha256:
            del piece  # its mapping goes before the file is read once more, through the rows' own
            break
        verified.record(piece.path, piece.state, [piece.sha256])
    if damaged:
        raise source.damaged(record, shard.what_differs() or OTHER_BYTES)
    if rows_digest(shard) != record.rows_digest:
        raise source.damaged(record, f"its rows are not those that the identity has for split {shard.split}")
