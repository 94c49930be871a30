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


def by_sequence(vectors: np.ndarray, sequences: int) -> np.ndarray:
    """Return a column of [CLS] vectors, [n, S·H], as one row for each sequence, [n·S, H]."""
    return vectors.reshape(len(vectors) * sequences, -1)


def chunks(split: Split, column: str, sequences: int = 1) -> Iterator[np.ndarray]:
    """Yield the [CLS] vectors of a column, [m, H] of 4,096 sequences at a time."""
    for shard in split.shards:
        values = by_sequence(np.asarray(shard[column]), sequences)
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
    """Train the kind's linear model on ĥ of `vectors` [n, S·H] and labels.

    Returns its logits [m, C] for `new_vectors` [m, S·H]. Where an example is several sequences, one linear model of
    whether a sequence is the right choice gives the logit of each.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sequences = kind.sequences(num_logits)
    features, new_features = (normalised(by_sequence(part, sequences)) for part in (vectors, new_vectors))
    model = make_pipeline(StandardScaler(), kind.linear_model())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of convergence, and of classes without rows
        if sequences > 1:
            model.fit(features, (np.arange(sequences) == labels[:, None]).reshape(-1))
            logits: np.ndarray = model.decision_function(new_features).reshape(-1, sequences)
            return logits
        if (labels == labels[0]).all():  # nothing to learn, and some models refuse it
            return kind.as_logits(np.repeat(labels[:1], len(new_vectors), 0), num_logits)
        model.fit(features, labels)
    return kind.as_logits(model.predict(new_features), num_logits)
