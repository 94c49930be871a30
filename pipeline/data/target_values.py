"""From the numbers of the rows to logits: probabilities, log-probabilities or logits of each class, or scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.kinds.task_kind import SMALLEST
from pipeline.data.rows import RawSplit
from pipeline.data.target_cells import RawTargets
from pipeline.data.tasks import Task
from pipeline.errors import one_line

TOLERANCE = 1e-3  # of the sum of probabilities
ROUNDING = 1e-6  # above the largest value that there can be, as of float32
BLOCK_ROWS = 65_536  # in float64 at a time
CHECK = "Fix this row, or name other --target-columns"


@dataclass
class LeftOut:
    """Classes that `rows` rows left out, as the top-k of an API does; `mass` is the sum of what these share."""

    rows: int = 0
    classes: int = 0
    mass: float = 0.0

    def __str__(self) -> str:
        return (
            f"classes that targets leave out ({self.rows:,} targets, {self.classes / self.rows:.1f} classes on "
            f"average) share the missing {100 * self.mass / self.rows:.2f} % evenly"
        )


@dataclass(frozen=True, kw_only=True)
class TargetReader:
    """Numbers of a kind (probabilities, logits, logprobs or scores) for the classes of a task.

    `smoothing` is the probability that a row with the name of its class alone spreads over all classes.
    """

    task: Task
    target_kind: str
    smoothing: float

    def logits(
        self, raw: RawSplit, targets: RawTargets, classes: Sequence[Sequence[int]], left_out: LeftOut
    ) -> np.ndarray:
        """Return the logits [n, C] in float32 whose predictions are the targets of these rows.

        `classes` has the columns of the targets for each class; in a row, one of them has its number. Raises `BadRows`
        for numbers that cannot be; classes that rows left out are added to `left_out`.
        """
        logits = np.empty((len(targets), len(classes)), np.float32)
        for start in range(0, len(targets), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            values = self._values(raw, start, targets.values[rows], classes)
            logits[rows] = self._block(raw, start, values, targets.hard[rows], left_out)
        return logits

    def _values(self, raw: RawSplit, start: int, given: np.ndarray, classes: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the number of each class, NaN where a row leaves it out: [n, C]."""
        values, faults = np.full((len(given), len(classes)), np.nan), raw.faults()
        for number, columns in enumerate(classes):
            for column in columns:
                present = ~np.isnan(given[:, column])
                for row in np.flatnonzero(present & ~np.isnan(values[:, number])):
                    fact = f"the target names the class {one_line(self.task.labels[number], 40)} twice"
                    faults.add("twice", *raw.place(start + int(row)), fact)
                values[present, number] = given[present, column]
        faults.check()
        return values

    def _block(self, raw: RawSplit, start: int, values: np.ndarray, hard: np.ndarray, left_out: LeftOut) -> np.ndarray:
        kind = self.task.kind
        if self.target_kind == "scores":
            return kind.as_logits(values[:, 0], 1)
        faults = raw.faults()

        def check(wrong: np.ndarray, fault: str, fact: str) -> None:
            for row in np.flatnonzero(wrong.reshape(len(values), -1).any(1)):
                wrong_class = int(wrong[row].argmax()) if wrong.ndim == 2 else 0
                name = one_line(self.task.labels[wrong_class], 40)
                value = values[row, wrong_class] if wrong.ndim == 2 else sums[row]
                faults.add(fault, *raw.place(start + int(row)), fact.format(name=name, value=f"{value:.6g}"), CHECK)
            faults.check()

        soft = ~hard[:, None]
        missing = np.isnan(values)
        sums = np.zeros(len(values))
        if self.target_kind == "logits":
            check(soft & missing, "class", "no logit of {name}, and the others do not say what it is")
            return np.where(soft, values, self._hard(values, kind.distributes))
        if self.target_kind == "logprobs":
            check(soft & (values > ROUNDING), "above", "the log-probability of {name} is {value}, above 0")
            probabilities = np.exp(np.minimum(values, 0))
        else:
            outside = (values < 0) | (values > 1 + ROUNDING)
            check(soft & outside, "outside", "the probability of {name} is {value}, outside 0 to 1")
            probabilities = np.minimum(values, 1)
        if not kind.distributes:
            check(soft & missing, "class", "no probability of {name}")
            return np.where(soft, kind.logits_of(probabilities), self._hard(values, False))
        sums = np.nansum(probabilities, 1)
        above = ~hard & (sums > 1 + TOLERANCE)
        check(above, "sum", f"its {self._noun} add up to {{value}}, not 1")
        counts = missing.sum(1)
        if self.target_kind == "probabilities":
            below = ~hard & (counts == 0) & (sums < 1 - TOLERANCE)
            check(below, "sum", "its probabilities add up to {value}, not 1")
        shared = np.maximum(1 - sums, 0)
        partial = ~hard & (counts > 0)
        left_out.rows += int(partial.sum())
        left_out.classes += int(counts[partial].sum())
        left_out.mass += float(shared[partial].sum())
        share = (shared / np.maximum(counts, 1))[:, None]
        if self.target_kind == "logprobs":  # of a small probability, the logarithm says more
            logs = np.where(missing, np.log(np.maximum(share, SMALLEST)), values)
            return np.where(soft, logs, self._hard(values, True))
        return np.where(soft, kind.logits_of(np.where(missing, share, probabilities)), self._hard(values, True))

    @property
    def _noun(self) -> str:
        return "probabilities" if self.target_kind == "probabilities" else "exponents of the log-probabilities"

    def _hard(self, values: np.ndarray, distributes: bool) -> np.ndarray:
        """Return the logits of rows that name their classes: NaN marks the others."""
        present = ~np.isnan(values)
        outcomes = values.shape[1] if distributes else 2
        return self.task.kind.logits_of(present * (1 - self.smoothing) + self.smoothing / outcomes)
