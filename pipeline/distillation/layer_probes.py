"""What each layer of a teacher has to teach: how much its [CLS] vectors vary, and what a linear model reads in them."""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.data.splits import Split

CHUNK_ROWS = 4096
PROBE_SEED = 0


def normalised(vectors: np.ndarray) -> np.ndarray:
    """ĥ = h / ‖h‖ of vectors [n, H] in float64, as the patience loss compares them; the zero vector stays."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # what is not finite stays so
        return np.divide(wide, norms, out=np.zeros_like(wide), where=norms != 0)


def chunks(split: Split, column: str) -> Iterator[np.ndarray]:
    """The rows of a fixed-width column, so many at a time."""
    for shard in split.shards:
        values = np.asarray(shard[column])
        for start in range(0, len(values), CHUNK_ROWS):
            yield values[start : start + CHUNK_ROWS]


def variation(parts: Iterable[np.ndarray]) -> float:
    """1 − ‖mean of ĥ‖² over all rows of `parts` ([n, H] each): the mean squared distance of ĥ to its mean.

    0: the vectors all point the same way; 1: they have no direction in common. Raises ValueError for values that are
    not finite, or for no rows.
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
    """Ids of the examples that a probe is trained on: the first `count` in an order drawn with a fixed seed."""
    return np.sort(np.random.default_rng(PROBE_SEED).permutation(examples)[:count])


def probe(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray, classes: int) -> np.ndarray:
    """Train a linear model on ĥ of `vectors` [n, H] and their labels, and return its outputs [m, C] for `others`.

    Logistic regression for classes (the outputs are 1 for the class that it says), ridge regression for C = 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = classes == 1
    if not regression and len(np.unique(labels)) == 1:
        return one_hot(np.full(len(others), labels[0]), classes)
    model = make_pipeline(StandardScaler(), Ridge() if regression else LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(normalised(vectors), labels)
    said = model.predict(normalised(others))
    return said[:, None] if regression else one_hot(said, classes)


def one_hot(said: np.ndarray, classes: int) -> np.ndarray:
    """Outputs [n, classes] that are 1 for the class that is said of each example."""
    outputs = np.zeros((len(said), classes))
    outputs[np.arange(len(said)), said] = 1
    return outputs
