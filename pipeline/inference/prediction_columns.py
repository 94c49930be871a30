"""The columns that predictions are written to: a prediction, and the probabilities of the classes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.labels.labels import named_labels
from pipeline.data.task_kinds import TaskKind

PREDICTION, PROBABILITY, PROBABILITIES = "prediction", "probability_", "probabilities"
MANY_COLUMNS = 20  # classes; more are in one column


@dataclass(frozen=True)
class PredictionColumns:
    """The new columns of a task: `kind` with the settings of the model, `labels` in the order of its logits.

    Probabilities are a column per class if `spread`, else one column: an object by label, or in parquet a list in the
    order of the labels. A kind without classes or choices does not have any.
    """

    kind: TaskKind
    labels: tuple[str, ...]
    ending: str
    prefix: str = ""

    @property
    def spread(self) -> bool:
        """Whether each class has a column."""
        return self.ending != ".jsonl" and len(self.labels) <= MANY_COLUMNS

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        probabilities = [PROBABILITY + label for label in self.labels] if self.spread else [PROBABILITIES]
        return tuple(self.prefix + name for name in (PREDICTION, *(probabilities if self.labels else ())))

    @property
    def metadata(self) -> dict[str, str]:
        """The order of the labels in lists of probabilities, for the metadata of a parquet file."""
        return {} if self.spread or not self.labels else {"labels": json.dumps(self.labels, ensure_ascii=False)}

    def types(self) -> dict[str, Any]:
        """Return the pyarrow types of the columns."""
        import pyarrow as pa

        name = pa.string() if self.labels else pa.float64()
        prediction = pa.list_(name) if self.kind.label_width(self.kind.num_logits(self.labels)) else name
        probability = pa.float32() if self.spread else pa.list_(pa.float32())
        return {column: probability if place else prediction for place, column in enumerate(self.names)}

    def values(self, logits: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the values of the columns for finite logits [n, C]."""
        predictions = named_labels(_shortest(self.kind.predictions(logits)), self.labels)
        if not self.labels:
            return dict(zip(self.names, [predictions], strict=True))
        probabilities = _shortest(self.kind.probabilities(logits).astype(np.float32))
        columns: list[Any] = list(probabilities.T.tolist())
        if not self.spread:
            rows = probabilities.tolist()
            as_lists = self.ending == ".parquet"
            columns = [rows if as_lists else [dict(zip(self.labels, row, strict=True)) for row in rows]]
        return dict(zip(self.names, [predictions, *columns], strict=True))


def _shortest(values: np.ndarray) -> np.ndarray:
    """Return float32 as the float64 with the fewest digits that tell it from its neighbours; others unchanged."""
    return values.astype(str).astype(np.float64) if values.dtype == np.float32 else values
