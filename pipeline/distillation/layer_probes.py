"""Probes of a teacher's layers: how much their [CLS] vectors vary, and how well a linear model predicts from them."""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.data.splits import Split
from pipeline.data.task_kinds import TaskKind

CHUNK_ROWS = 4096
PROBE_SEED = 0


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Return ĥ = h / ‖h‖ of vectors [n, H] in float64, as the patience loss compares them; the zero vector stays."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # what is not finite stays so
        return np.divide(wide, norms, out=np.zeros_like(wide), where=norms != 0)


def chunks(split: Split, column: str) -> Iterator[np.ndarray]:
    """Yield the rows of a fixed-width column, 4,096 at a time."""
    for shard in split.shards:
        values = np.asarray(shard[column])
        for start in range(0, len(values), CHUNK_ROWS):
            yield values[start : start + CHUNK_ROWS]


def variation(parts: Iterable[np.ndarray]) -> float:
    """Return 1 − ‖mean of ĥ‖² over all rows of `parts` ([n, H] each): the mean squared distance of ĥ to its mean.

    0: all vectors point the same way; 1: they do not have a direction in common. Raises ValueError for values that are
    not finite, or without rows.
    """
    total: np.ndarray | float = 0.0
    squares, rows = 0.0, 0
    for part in parts:
        unit = normalised(part)
        total = total + unit.sum(axis=0)
        squares += float((unit**2).sum())
        rows += len(part)
    if not rows or not np.isfinite(total).all():
        raise ValueError("values that are not finite" if rows else "no rows")
    return max(0.0, squares / rows - float(((np.asarray(total) / rows) ** 2).sum()))


def probe_rows(examples: int, count: int) -> np.ndarray:
    """Return the ids of the examples that a probe is trained on: `count`, drawn with a fixed seed."""
    return np.sort(np.random.default_rng(PROBE_SEED).permutation(examples)[:count])


def probe(
    kind: TaskKind, vectors: np.ndarray, labels: np.ndarray, new_vectors: np.ndarray, num_logits: int
) -> np.ndarray:
    """Train the kind's linear model on ĥ of `vectors` [n, H] and labels; return its logits [m, C] for `new_vectors`."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if (labels == labels[0]).all():  # nothing to learn, and some models refuse it
        return kind.as_logits(np.repeat(labels[:1], len(new_vectors), 0), num_logits)
    model = make_pipeline(StandardScaler(), kind.linear_model())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of convergence, and of classes without rows
        model.fit(normalised(vectors), labels)
    return kind.as_logits(model.predict(normalised(new_vectors)), num_logits)
