"""The command `cache gc`: remove leftovers of dead writers, and files that the manifest does not name."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache.format.manifest import MANIFEST
from pipeline.cache.leftovers import LOCK, Leftover, Leftovers, find_leftovers, remove_leftover, size_of
from pipeline.config.cache import CacheGcConfig
from pipeline.errors import BadCache
from pipeline.system.formatting import printable, size
from pipeline.system.lease import PARTIAL, directory_lease
from pipeline.system.progress import show


@dataclass(frozen=True)
class GcResult:
    """Paths in the cache; with `dry_run`, `removed` are those that would be removed."""

    command: str
    out: str
    dry_run: bool
    removed: list[str]
    bytes: int
    kept: list[str]


def run(config: CacheGcConfig) -> GcResult:
    """Remove leftovers and print each. Raises `BadCache` if the directory is not a cache or is being written."""
    directory = Path(config.cache)
    listing = find_leftovers(directory)
    if not (directory / PARTIAL).is_symlink():
        _refuse(directory, directory_lease(directory).holder())
    sizes = {leftover.path: size_of(leftover.path) for leftover in listing.leftovers}
    removed = list(sizes) if config.dry_run or not sizes else _remove(directory, listing)
    result = GcResult(
        "cache gc",
        config.cache,
        config.dry_run,
        [str(path.relative_to(directory)) for path in removed],
        sum(sizes[path] for path in removed),
        [str(path.relative_to(directory)) for path in listing.unknown],
    )
    _print(result, dict(zip(result.removed, (sizes[path] for path in removed), strict=True)))
    return result


def _refuse(directory: Path, holder: object) -> None:
    """Raise `BadCache` if another process holds the directory."""
    if holder is not None:
        raise BadCache(f"{directory} is being written by {holder}. Wait for it, then run cache gc again")


def _remove(directory: Path, listing: Leftovers) -> list[Path]:
    """Remove the leftovers that are still there, under the directory's lease; return their paths."""
    partial, lease = directory / PARTIAL, directory_lease(directory)
    if partial.is_symlink():  # the lease must not be written to its target
        partial.unlink()
    new = not partial.exists()
    _refuse(directory, lease.acquire())
    clears = False
    try:
        still = {leftover.path for leftover in find_leftovers(directory).leftovers}
        clears = (directory / MANIFEST).is_file() and partial in still  # removed last: it holds this lease
        removed = [leftover.path for leftover in listing.leftovers if _goes(leftover, still, lease.path, partial)]
        for entry in partial.iterdir() if clears and not new else ():
            if entry.name not in (lease.path.name, LOCK):
                remove_leftover(Leftover(entry))
    finally:
        lease.release()
        if clears:
            with suppress(OSError):  # another process may have started to write just now
                (partial / LOCK).unlink()
                partial.rmdir()
    return removed


def _goes(leftover: Leftover, still: set[Path], lease: Path, partial: Path) -> bool:
    """Remove a leftover, and return whether it is removed: files of this lease are removed at the end."""
    if leftover.path == lease:
        return True
    return leftover.path in still and (leftover.path == partial or remove_leftover(leftover))


def _print(result: GcResult, sizes: dict[str, int]) -> None:
    for path, count in sizes.items():
        show(f"{'would remove' if result.dry_run else 'removed'}  {printable(path)}  {size(count)}")
    for path in result.kept:
        show(f"unknown, kept  {printable(path)}")
    if not sizes:
        show(f"{printable(result.out)}: nothing to remove")
