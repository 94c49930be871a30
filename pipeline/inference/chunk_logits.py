"""The logits of many rows, chunk by chunk: those that an earlier call has left, and the others computed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from pipeline.data.rows.rows import SplitRows
from pipeline.errors import BadModel
from pipeline.inference.partial_logits import PartialLogits
from pipeline.inference.predictor import Predictor
from pipeline.system.progress import bar

Tag = TypeVar("Tag")


@dataclass
class Work:
    """The rows of a prediction so far, those of them that were computed now, and the seconds that this took."""

    rows: int = 0
    computed: int = 0
    seconds: float = 0.0

    @property
    def examples_per_second(self) -> float:
        """The speed of the model; 0 if nothing was computed."""
        return round(self.computed / self.seconds, 1) if self.seconds else 0.0

    def compute(
        self, predictor: Predictor, rows: SplitRows, batch_size: int, finished: Callable[[int], object] = lambda _: None
    ) -> np.ndarray:
        """Return the logits of rows; see `Predictor.logits`. Raises `BadModel` for logits that are not finite."""
        started = time.monotonic()
        logits = predictor.logits(rows, batch_size, finished)
        if not np.isfinite(logits).all():
            raise BadModel(
                f"{predictor.source.directory} computes logits that are not finite numbers. Try --precision float32, "
                "or train it again"
            )
        self.rows += len(rows)
        self.computed += len(rows)
        self.seconds += time.monotonic() - started
        return logits


def chunk_logits(
    chunks: Iterable[tuple[SplitRows, Tag]],
    total: int,
    predictor: Predictor,
    partial: PartialLogits,
    batch_size: int,
    work: Work,
) -> Iterator[tuple[Tag, np.ndarray]]:
    """Yield what each chunk comes with, and its logits; with a bar over all `total` rows.

    `partial`, which is claimed, has those of an earlier call, and keeps the others.
    """
    with bar(total, f"predict {predictor.record.task}".strip(), "ex") as progress:
        for number, (rows, tag) in enumerate(chunks):
            logits = partial.load(number, (len(rows), predictor.num_logits))
            if logits is None:
                logits = work.compute(predictor, rows, batch_size, progress.update)
                partial.save(number, logits)
            else:
                work.rows += len(rows)
                progress.initial += len(rows)  # not counted in the rate
                progress.update(len(rows))
            yield tag, logits


def identity_of(predictor: Predictor, rows: str, batch_size: int) -> dict[str, Any]:
    """Return what the logits of rows with this digest follow from."""
    return {
        "model": predictor.digest,
        "rows": rows,
        "max_length": predictor.max_length,
        "batch_size": batch_size,
        "precision": predictor.precision,
        "device": predictor.device,
    }


def texts_digest(columns: Iterable[Iterable[str]]) -> str:
    """Return the SHA-256 of columns of texts."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(json.dumps(list(column)).encode())
    return digest.hexdigest()
