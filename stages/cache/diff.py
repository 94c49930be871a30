"""Compare two caches: what they were made from, their rows, and the numbers of the rows that they share."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.cache.format.columns import cls_column
from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.cache.format.identity import different_fields
from pipeline.config.cache import CacheDiffConfig
from pipeline.data.splits import Split
from pipeline.errors import BadCache, shell_line
from pipeline.system.formatting import printable, table
from pipeline.system.progress import bar

CHUNK_ROWS = 4096


@dataclass(frozen=True)
class NumbersDiff:
    """One column over the examples with the same tokens: share of rows that are equal, and |a − b|."""

    equal: float
    largest: float
    mean: float


@dataclass(frozen=True)
class SplitDiff:
    """Rows by example id: `same` have the same tokens and label; `differ` do not, or are in one cache only."""

    a: int
    b: int
    same: int
    differ: int
    columns: dict[str, NumbersDiff]


@dataclass(frozen=True)
class DiffResult:
    command: str
    a: str
    b: str
    same: bool
    same_identity: bool
    same_content: bool
    fields: list[str]
    splits: dict[str, SplitDiff]


def run(config: CacheDiffConfig) -> DiffResult:
    """Caches of equal identity and content are not read: their digests say it. Raises `BadCache`."""
    a, b = open_cache(config.a), open_cache(config.b)
    same_identity = a.manifest.identity == b.manifest.identity
    same_content = a.manifest.content == b.manifest.content
    fields = _fields(a, b)
    columns = _columns(a, b)
    if same_identity and same_content:
        equal = dict.fromkeys(columns, NumbersDiff(1.0, 0.0, 0.0))
        splits = {name: SplitDiff(len(s), len(s), len(s), 0, dict(equal)) for name, s in a.splits.items()}
    else:
        splits = _compare(a, b, columns)
    result = DiffResult(
        "cache diff", config.a, config.b, same_identity and same_content, same_identity, same_content, fields, splits
    )
    _print(result)
    return result


def _fields(a: Cache, b: Cache) -> list[str]:
    """What differs, as 'name: A ≠ B'; of these, container and files of teacher/ are no part of the identity."""
    lines = different_fields(b.manifest.fields.as_json(), a.manifest.fields.as_json())
    for name, left, right in (
        ("container", a.manifest.container, b.manifest.container),
        ("task", a.manifest.task.name, b.manifest.task.name),
    ):
        if left != right:
            lines.append(f"{name}: {left} ≠ {right}")
    ours, theirs = a.manifest.teacher_files, b.manifest.teacher_files
    for name in sorted(set(ours) | set(theirs)):
        digests = [files[name].sha256[:8] + "…" if name in files else "absent" for files in (ours, theirs)]
        if ours.get(name) != theirs.get(name):
            lines.append(f"teacher/{name}: {' ≠ '.join(digests)}")
    return lines


def _columns(a: Cache, b: Cache) -> list[str]:
    """Those with numbers that both have and that mean the same."""
    shared = [cls_column(layer) for layer in a.manifest.layers if layer in b.manifest.layers]
    if a.manifest.model.hidden != b.manifest.model.hidden:
        shared = []
    return ["logits", *shared] if _label_order(a, b) is not None else shared


def _label_order(a: Cache, b: Cache) -> np.ndarray | None:
    """Which class of B each class of A is, by name; None where the two have other classes."""
    ours, theirs = a.manifest.task.labels, b.manifest.task.labels
    if ours is None and theirs is None:
        return np.zeros(1, np.int64)
    if ours is None or theirs is None or sorted(ours) != sorted(theirs):
        return None
    return np.array([theirs.index(label) for label in ours])


def _compare(a: Cache, b: Cache, columns: list[str]) -> dict[str, SplitDiff]:
    """Every split of either; what is read is verified."""
    empty = Split("", [], False)
    names = [*a.splits, *(name for name in b.splits if name not in a.splits)]
    read = {name: columns for name in a.splits if name in b.splits}
    found = {}
    with a.check_in_background(read) as first, b.check_in_background(read) as second:
        with bar(sum(len(a.splits[name]) for name in read), "compare", "ex") as progress:
            for name in names:
                found[name] = _split(
                    a, b, a.splits.get(name, empty), b.splits.get(name, empty), columns, progress.update
                )
        first.wait()
        second.wait()
    return found


def _split(a: Cache, b: Cache, ours: Split, theirs: Split, columns: list[str], advance: Any) -> SplitDiff:
    order, same, joined = _label_order(a, b), 0, 0
    equal, largest, total = (dict.fromkeys(columns, 0.0) for _ in range(3))
    both = min(len(ours), len(theirs))
    for start in range(0, both, CHUNK_ROWS):
        ids = np.arange(start, min(start + CHUNK_ROWS, both))
        tokens = (ours.gather("row_hash", ids) == theirs.gather("row_hash", ids)).all(axis=1)
        labels = ours.gather("label", ids), theirs.gather("label", ids)
        same += int((tokens & _same_labels(*labels, order)).sum())
        advance(len(ids))
        ids = ids[tokens]
        joined += len(ids)
        for column in columns if len(ids) else []:
            left, right = (split.gather(column, ids).astype(np.float64) for split in (ours, theirs))
            if column == "logits":
                right = right[:, order]
            distance = np.abs(left - right)
            if not np.isfinite(distance).all():
                raise BadCache(
                    f"{a.location} or {b.location}: {column} of split {ours.name} is not finite. Verify both"
                )
            equal[column] += float((distance == 0).all(axis=1).sum())
            largest[column] = max(largest[column], float(distance.max()))
            total[column] += float(distance.mean(axis=1).sum())
    numbers = {
        column: NumbersDiff(equal[column] / joined, largest[column], total[column] / joined)
        for column in columns
        if joined
    }
    return SplitDiff(len(ours), len(theirs), same, max(len(ours), len(theirs)) - same, numbers)


def _same_labels(ours: np.ndarray, theirs: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Per row, by the labels' names; -1, no label, is itself. Other classes have no label in common."""
    if order is None:
        return np.zeros(len(ours), bool)
    if ours.dtype.kind == "f":
        return ours == theirs
    return np.where(ours < 0, -1, order[ours]) == theirs


def _print(result: DiffResult) -> None:
    said = {True: "same", False: "differs"}
    print(f"identity {said[result.same_identity]}, content {said[result.same_content]}")
    for line in result.fields:
        print(printable(line))
    rows = [(name, s.a, s.b, s.same, s.differ) for name, s in result.splits.items()]
    print()
    print(table(("split", "rows of A", "rows of B", "same", "differ"), rows))
    numbers = [
        (name, column, f"{found.equal:.2%}", f"{found.largest:.3g}", f"{found.mean:.3g}")
        for name, split in result.splits.items()
        for column, found in split.columns.items()
    ]
    if numbers:
        print()
        print(table(("split", "column", "equal rows", "largest |A − B|", "mean |A − B|"), numbers))
    if result.same:
        print(
            "One cache: equal by the digests of every shard. "
            f"{shell_line('cache', 'verify')} checks the bytes against them."
        )
