"""Several caches of one teacher as one cache: their training examples together, dev and test splits of the first.

The order of the training examples is that of the caches' identities, whichever way they are named.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np

from pipeline.cache.background_check import BackgroundCheck
from pipeline.cache.format.identity import different_fields
from pipeline.cache.reader import Cache
from pipeline.data.joined_split import join_splits
from pipeline.data.splits import ROW_HASH_BYTES, Split
from pipeline.data.tasks import DEV, TEST, TRAIN, TRANSFER, role_of
from pipeline.errors import BadCache, BadOption, one_line
from pipeline.system.digests import json_digest

JOINED = (TRAIN, TRANSFER)
# Fields of an identity in which caches that join may differ: rows, and numbers that do not change what a target means.
MAY_DIFFER = ("format", "splits", "layers", "shard_rows", "batching", "texts", "target_values")


@dataclass(frozen=True)
class JoinedCache(Cache):
    """Several caches as one. Made by `join_caches`; teacher and manifest are those of the first."""

    caches: tuple[Cache, ...]  # as they were named

    @property
    def identity(self) -> str:
        """The SHA-256 of the sorted identities."""
        return json_digest(sorted(cache.identity for cache in self.caches))

    @property
    def tokens(self) -> Any:
        """The tokens that a student reads: alike in all caches."""
        return self.caches[0].tokens

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns of the inputs of a model."""
        return self.caches[0].input_columns

    @cached_property
    def _sources(self) -> dict[str, list[Cache]]:
        """The caches that each split is from: train and transfer of all, dev and test of the first that has some."""
        ordered = sorted(self.caches, key=lambda cache: cache.identity)
        sources = {name: [c for c in ordered if name in c.manifest.splits] for name in JOINED}
        for role in (DEV, TEST):
            for cache in self.caches:
                names = [name for name in cache.manifest.splits if role_of(name) == role]
                if names:
                    sources |= {name: [cache] for name in names}
                    break
        return {name: caches for name, caches in sources.items() if caches}

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {name: join_splits([cache.splits[name] for cache in caches]) for name, caches in self._sources.items()}

    @property
    def run_inputs(self) -> dict[str, str]:
        """The digests by which a run knows what it was trained on; the dev rows do not follow from the identity."""
        splits = {name: caches[0].manifest.fields.splits[name] for name, caches in self._sources.items()}
        dev_rows = json_digest({name: rows for name, rows in splits.items() if role_of(name) == DEV})
        return {"cache": self.identity, "dev_rows": dev_rows}

    def check_in_background(self, columns: Mapping[str, Collection[str]]) -> Any:
        """Return a check of these columns (split -> names) in every cache, not yet started."""
        return JoinedCheck(
            [
                cache.check_in_background({name: columns[name] for name in columns if cache in self._sources[name]})
                for cache in self.caches
            ]
        )

    @property
    def remarks(self) -> list[str]:
        """Facts that a user should know before a training: repeated rows, and whose dev rows are used."""
        lines = []
        dev = {name: caches[0] for name, caches in self._sources.items() if role_of(name) == DEV}
        rows = [_row_hashes(cache, JOINED) for cache in self.caches]
        for place, cache in enumerate(self.caches):
            for earlier, its_rows in zip(self.caches[:place], rows, strict=False):
                if count := int(np.isin(rows[place], its_rows).sum()):
                    lines.append(f"{count:,} training examples of {cache.location} are in {earlier.location} too")
            for name, source in dev.items():
                if source is not cache and (count := int(np.isin(rows[place], _row_hashes(source, (name,))).sum())):
                    lines.append(
                        f"{count:,} training examples of {cache.location} are in {name} of {source.location}: its "
                        "metrics are better than on new examples"
                    )
            unused = [name for name in cache.manifest.splits if role_of(name) == DEV and dev.get(name) is not cache]
            if unused:
                source = next(iter(dev.values()))
                lines.append(
                    f"students are evaluated on the dev rows of {source.location}, not on those of {cache.location}"
                )
        return lines


class JoinedCheck:
    """The checks of several caches as one."""

    def __init__(self, checks: Sequence[BackgroundCheck]):
        self.checks = checks
        self._open = ExitStack()

    def __enter__(self) -> "JoinedCheck":
        for check in self.checks:
            self._open.enter_context(check)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def poll(self) -> None:
        """Raise the `BadCache` found so far, if any."""
        for check in self.checks:
            check.poll()

    def wait(self) -> None:
        """Wait until everything has been checked. Raises `BadCache` naming the damaged shard."""
        for check in self.checks:
            check.wait()


def join_caches(caches: Sequence[Cache]) -> Cache:
    """Return caches of one teacher as one; a single cache stays as it is.

    Raises `BadOption` for a cache that is named twice, `BadCache` for caches that differ in more than their rows.
    """
    first, *more = caches
    if not more:
        return first
    for place, cache in enumerate(caches):
        for earlier in caches[:place]:
            if cache.identity == earlier.identity:
                raise BadOption(
                    f"{earlier.location} and {cache.location} are the same cache (identity {cache.identity[:12]}…). "
                    "Name it once"
                )
        if differences := different_fields(_teaching(cache, first), _teaching(first, cache)):
            reasons = one_line("; ".join(differences), 400)
            raise BadCache(
                f"{first.location} and {cache.location} do not join ({reasons}). Name caches that one teacher made "
                "with the same options, or train from one of them"
            )
    kept = reduce(set.intersection, (set(cache.manifest.layers) for cache in caches))
    fields = replace(first.manifest.fields, layers=tuple(sorted(kept)))
    location = " and ".join(cache.location for cache in caches)
    manifest = replace(first.manifest, fields=fields)
    return JoinedCache(location, manifest, first.source, first.teacher, first.verified, tuple(caches))


def _teaching(cache: Cache, partner: Cache) -> dict[str, Any]:
    """Return what caches that join have in common, by name: what a target means, and how students are compared.

    The numbers of text columns are compared where the other cache keeps texts too.
    """
    manifest = cache.manifest
    fields = {name: value for name, value in manifest.fields.as_json().items() if name not in MAY_DIFFER}
    task = {"task.metric": manifest.task.metrics[0], "task.settings": dict(manifest.task.settings)}
    return fields | task | {"texts": manifest.fields.texts if partner.manifest.fields.texts else 0}


def _row_hashes(cache: Cache, names: Sequence[str]) -> np.ndarray:
    """Return the row hashes of all examples of these splits, as values that can be compared: V16 [n]."""
    hashes = [cache.splits[name].column("row_hash") for name in names if name in cache.splits]
    rows = np.concatenate([*hashes, np.empty((0, ROW_HASH_BYTES), np.uint8)])
    return np.ascontiguousarray(rows).view(f"V{ROW_HASH_BYTES}").reshape(-1)
