"""The command `cache verify`: check every byte of a cache against its manifest, and repair damaged files."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache.format.manifest import MANIFEST, FileRecord, Manifest
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.full_check import damaged_files, unknown_files
from pipeline.cache.open import open_cache
from pipeline.cache.user_store import recorded_rows
from pipeline.config.cache import CacheVerifyConfig
from pipeline.config.rows import ROW_PATHS
from pipeline.errors import BadCache, BadOption, DamagedCache, shell_line
from pipeline.system.cpu import require_single_process
from pipeline.system.digests import intact
from pipeline.system.files import remove
from pipeline.system.lease import PARTIAL, directory_lease
from pipeline.system.progress import bar, note, show
from pipeline.teacher.repair import Fetch, Repair, rows_of
from pipeline.teacher.spot_check import Sample, sample


@dataclass(frozen=True)
class VerifyResult:
    """Files that were checked, repaired, or are not in the manifest; differences of the sampled rows."""

    command: str
    out: str
    seconds: float
    identity: str
    content: str
    files: int
    bytes: int
    repaired: list[str]
    unknown: list[str]  # files that the manifest does not name
    sample: dict[str, float | int | str] | None


def run(config: CacheVerifyConfig) -> VerifyResult:
    """Check every file, and repair damaged ones if asked to.

    Raises `BadCache` that names the damaged files, after a line for each, unless all of them were repaired.
    """
    require_single_process("cache verify")
    started = time.monotonic()
    directory = Path(config.cache)
    if config.from_ and not config.repair:
        raise BadOption("--from names a copy to repair from: add --repair")
    manifest, manifest_too = _manifest(config, directory)
    if config.sample and not manifest.has_teacher:
        raise BadOption(f"{directory} does not have a teacher: its targets were made elsewhere. Leave --sample out")
    damaged = _damaged(config, directory, manifest, manifest_too)
    repaired = [MANIFEST] if manifest_too else []
    if damaged or manifest_too:
        repaired += _repair(config, directory, manifest, damaged, manifest_too)
    unknown = unknown_files(directory, manifest)
    if unknown:
        note(
            f"not in the manifest: {', '.join(unknown[:10])}. See: {shell_line('cache', 'gc', directory, '--dry-run')}"
        )
    return VerifyResult(
        "cache verify",
        str(directory),
        round(time.monotonic() - started, 2),
        manifest.identity,
        manifest.content,
        len(manifest.files()) + 1,
        sum(record.bytes for record in manifest.files().values()),
        repaired,
        unknown,
        vars(_sampled(config, directory)) if config.sample else None,
    )


def _manifest(config: CacheVerifyConfig, directory: Path) -> tuple[Manifest, bool]:
    """Return the manifest, and whether it is damaged and comes from the other copy."""
    try:
        return read_manifest(directory), False
    except DamagedCache as error:
        if not (config.repair and config.from_ and (directory / MANIFEST).is_file()):
            raise
        manifest = _other_manifest(config.from_)
        note(f"{MANIFEST}: {error}")
        return manifest, True


def _damaged(config: CacheVerifyConfig, directory: Path, manifest: Manifest, manifest_too: bool) -> dict[str, str]:
    """Return the reason for each damaged file, after printing it. Raises `BadCache` if they are not to be repaired."""
    with bar(sum(record.bytes for record in manifest.files().values()), f"verify {directory}", "B") as progress:
        damaged = damaged_files(directory, manifest, progress.update)
    if manifest_too and all(shard.file in damaged for _, shard in manifest.shards()):
        raise BadCache(  # nothing here says that the copy is of this cache
            f"{directory} shares no shard with {config.from_}, and nothing was changed. Name another copy with --from"
        )
    for file, reason in damaged.items():
        show(f"{file}: {reason}")
    if damaged and not config.repair:
        raise BadCache(
            f"{directory}: {len(damaged)} of {len(manifest.files())} files are damaged "
            f"({', '.join(list(damaged)[:5])}{', …' if len(damaged) > 5 else ''}). "
            f"Run: {shell_line('cache', 'verify', directory, '--repair')}"
        )
    return damaged


def _sampled(config: CacheVerifyConfig, directory: Path) -> Sample:
    """Run the teacher on sampled rows and print the differences. Raises `BadCache` if they exceed the tolerance."""
    result = sample(open_cache(directory), directory, config.sample, config.seed)
    show(
        f"{result.rows} rows: logits differ by {result.logits:.2g}, normalised [CLS] by {result.cls:.2g} at most; "
        f"the tolerance is {result.tolerance:g}"
    )
    if not result.agrees:
        raise BadCache(
            f"{directory}: the teacher in this cache says something else of {result.worst} than is stored (by "
            f"{max(result.logits, result.cls):.3g}, tolerance {result.tolerance:g}). Make it again with cache-teacher"
        )
    return result


def _repair(
    config: CacheVerifyConfig, directory: Path, manifest: Manifest, damaged: dict[str, str], manifest_too: bool
) -> list[str]:
    """Replace the damaged files. Raises `BadCache` for those that cannot be repaired, after repairing all others."""
    lease = directory_lease(directory)
    if (holder := lease.acquire()) is not None:
        raise BadCache(f"{directory} is being written by {holder}. Wait for it, then run the same command again")
    given = {name: getattr(config, name) for name in ROW_PATHS}
    rows = rows_of(manifest, recorded_rows(manifest.identity), given)
    failed = {}
    try:
        with Repair(directory, manifest, _fetch(config.from_) if config.from_ else None, rows) as repair:
            for file in sorted(
                damaged, key=lambda file: not file.startswith("teacher/")
            ):  # the teacher is needed first
                if (reason := repair.file(file)) is not None:
                    failed[file] = reason
                    show(f"{file}: not repaired: {reason}")
        if manifest_too and not failed:
            manifest.write(directory)
    finally:
        lease.release()
        remove(directory / PARTIAL)
    if failed:
        file, reason = next(iter(failed.items()))
        raise BadCache(
            f"{directory}: {len(failed)} of {len(damaged)} damaged files could not be repaired, as {file}: {reason}"
        )
    note(f"repaired {', '.join(damaged) or MANIFEST}")
    return list(damaged)


def _other_manifest(copy: str) -> Manifest:
    """Return the manifest of another copy, a directory or a URL."""
    if "://" not in copy:
        return read_manifest(Path(copy))
    from pipeline.cache.remote.published import Published

    return Published(copy).read()[0]


def _fetch(copy: str) -> Fetch:
    """Return a function that copies a file from another copy of the cache, a directory or a URL."""
    if "://" in copy:
        from pipeline.cache.remote.published import download_file

        return lambda _, record, path: download_file(copy, record, path)

    def fetch(file: str, record: FileRecord, path: Path) -> bool:
        if not intact(Path(copy) / file, record.sha256):
            return False
        shutil.copyfile(Path(copy) / file, path)
        return True

    if not Path(copy).is_dir():
        raise BadOption(f"--from {copy}: there is no such directory. Name another copy of the cache, or a URL")
    return fetch
