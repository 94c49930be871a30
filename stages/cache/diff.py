"""The command `cache diff`: compare what two caches were made from, their rows, and the targets of common rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.cache.format.columns import cls_column
from pipeline.cache.format.identity import different_fields
from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.config.cache import CacheDiffConfig
from pipeline.data.splits import Split
from pipeline.errors import BadCache, shell_line
from pipeline.system.formatting import printable, table
from pipeline.system.progress import bar, show

CHUNK_ROWS = 4096


@dataclass(frozen=True)
class NumbersDiff:
    """Differences in one column over examples with the same tokens: share of equal rows, and |a − b|."""

    equal: float
    largest: float
    mean: float


@dataclass(frozen=True)
class SplitDiff:
    """Row counts by example id: `same` have the same tokens, texts and label; `differ` do not, or are in one cache."""

    a: int
    b: int
    same: int
    differ: int
    columns: dict[str, NumbersDiff]


@dataclass(frozen=True)
class DiffResult:
    """Result of the comparison; `fields` are lines of 'name: A ≠ B'."""

    command: str
    a: str
    b: str
    same: bool
    same_identity: bool
    same_content: bool
    fields: list[str]
    splits: dict[str, SplitDiff]


def run(config: CacheDiffConfig) -> DiffResult:
    """Compare and print; caches of equal identity and content are not read. Raises `BadCache`."""
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
    """Return the differences as 'name: A ≠ B': identity fields, container, task and files of teacher/."""
    lines = different_fields(b.manifest.fields.as_json(), a.manifest.fields.as_json())
    for name, value_a, value_b in (
        ("container", a.manifest.container, b.manifest.container),
        ("task", a.manifest.task.name, b.manifest.task.name),
    ):
        if value_a != value_b:
            lines.append(f"{name}: {value_a} ≠ {value_b}")
    ours, theirs = a.manifest.teacher_files, b.manifest.teacher_files
    for name in sorted(set(ours) | set(theirs)):
        digests = [files[name].sha256[:8] + "…" if name in files else "absent" for files in (ours, theirs)]
        if ours.get(name) != theirs.get(name):
            lines.append(f"teacher/{name}: {' ≠ '.join(digests)}")
    return lines


def _columns(a: Cache, b: Cache) -> list[str]:
    """Return the columns of targets that both caches hold with the same meaning."""
    shared = [cls_column(layer) for layer in a.manifest.layers if layer in b.manifest.layers]
    if a.manifest.model.hidden != b.manifest.model.hidden:
        shared = []
    return ["logits", *shared] if _label_order(a, b) is not None else shared


def _label_order(a: Cache, b: Cache) -> np.ndarray | None:
    """Return the class of B for each class of A, by name; None if their classes differ."""
    ours, theirs = a.manifest.task.labels, b.manifest.task.labels
    if a.manifest.fields.kind != b.manifest.fields.kind or sorted(ours) != sorted(theirs):
        return None
    if not ours:
        return np.arange(a.manifest.model.classes)
    return np.array([theirs.index(label) for label in ours])


def _compare(a: Cache, b: Cache, columns: list[str]) -> dict[str, SplitDiff]:
    """Compare every split of either cache, verifying every byte that is read."""
    empty = Split("", [], False)
    names = [*a.splits, *(name for name in b.splits if name not in a.splits)]
    read = {name: columns for name in a.splits if name in b.splits}
    splits = {}
    with a.check_in_background(read) as first, b.check_in_background(read) as second:
        with bar(sum(len(a.splits[name]) for name in read), "compare", "ex") as progress:
            for name in names:
                splits[name] = _split(
                    a, b, a.splits.get(name, empty), b.splits.get(name, empty), columns, progress.update
                )
        first.wait()
        second.wait()
    return splits


def _split(a: Cache, b: Cache, ours: Split, theirs: Split, columns: list[str], advance: Any) -> SplitDiff:
    """Compare one split in chunks of rows. Raises `BadCache` for targets that are not finite."""
    order, same, joined = _label_order(a, b), 0, 0
    keys = _input_keys(a, b)
    equal, largest, total = (dict.fromkeys(columns, 0.0) for _ in range(3))
    both = min(len(ours), len(theirs))
    for start in range(0, both, CHUNK_ROWS):
        ids = np.arange(start, min(start + CHUNK_ROWS, both))
        inputs = (ours.gather(keys[0], ids) == theirs.gather(keys[1], ids)).all(axis=1)
        texts = _same_texts(a, b, ours, theirs, ids)
        labels = ours.gather("label", ids), theirs.gather("label", ids)
        same += int((inputs & texts & _same_labels(*labels, order)).sum())
        advance(len(ids))
        ids = ids[inputs]
        joined += len(ids)
        for column in columns if len(ids) else []:
            distance = _distance(ours, theirs, column, ids, order)
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


def _input_keys(a: Cache, b: Cache) -> tuple[str, str]:
    """Return the columns of A and B that identify the input of a teacher: tokens, or texts where one has no tokens."""
    keys = a.manifest.text_key, b.manifest.text_key
    if a.manifest.has_teacher == b.manifest.has_teacher or None in keys:
        return "row_hash", "row_hash"
    return keys  # type: ignore[return-value]


def _same_texts(a: Cache, b: Cache, ours: Split, theirs: Split, ids: np.ndarray) -> np.ndarray:
    """Compare the texts of rows, bool [n]; all are the same where one of the caches does not keep them."""
    keys = a.manifest.text_key, b.manifest.text_key
    if None in keys:
        return np.ones(len(ids), bool)
    return (ours.gather(keys[0], ids) == theirs.gather(keys[1], ids)).all(axis=1)  # type: ignore[arg-type]


def _distance(ours: Split, theirs: Split, column: str, ids: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Return |a − b| of a column, float64 [rows, width]."""
    a, b = (split.gather(column, ids).astype(np.float64) for split in (ours, theirs))
    return np.abs(a - (b[:, order] if column == "logits" else b))


def _same_labels(ours: np.ndarray, theirs: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Compare labels per row by name; −1, no label, equals itself. False for other classes."""
    if order is None:
        return np.zeros(len(ours), bool)
    if ours.dtype.kind == "f":
        return (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return np.where(ours < 0, -1, order[ours]) == theirs


def _print(result: DiffResult) -> None:
    words = {True: "same", False: "differs"}
    show(f"identity {words[result.same_identity]}, content {words[result.same_content]}")
    for line in result.fields:
        show(printable(line))
    rows = [(name, s.a, s.b, s.same, s.differ) for name, s in result.splits.items()]
    show()
    show(table(("split", "rows of A", "rows of B", "same", "differ"), rows))
    numbers = [
        (name, column, f"{difference.equal:.2%}", f"{difference.largest:.3g}", f"{difference.mean:.3g}")
        for name, split in result.splits.items()
        for column, difference in split.columns.items()
    ]
    if numbers:
        show()
        show(table(("split", "column", "equal rows", "largest |A − B|", "mean |A − B|"), numbers))
    if result.same:
        show(
            "One cache: equal by the digests of every shard. "
            f"{shell_line('cache', 'verify')} checks the bytes against them."
        )
