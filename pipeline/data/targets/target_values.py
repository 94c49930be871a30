"""From the numbers of the rows to logits: probabilities, log-probabilities or logits of each class, or scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.kinds.task_kind import SMALLEST
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.targets.target_cells import RawTargets
from pipeline.data.tasks import Task
from pipeline.errors import one_line

TOLERANCE = 1e-3  # of the sum of probabilities
ROUNDING = 1e-6  # above the largest value that there can be, as of float32
BLOCK_ROWS = 65_536  # in float64 at a time
LARGEST = 1e15  # of a logit, so that differences and squares are finite in float32
CHECK = "Fix this row, or name other --target-columns"
OTHER_KIND = "Fix this row, or say what the numbers are: --target-kind"


@dataclass
class TargetRemarks:
    """Remarks about the targets of a split, counted part by part."""

    rows: int = 0
    hard: int = 0  # rows that name their classes alone
    partial: int = 0  # rows that leave out classes, as the top-k of an API does
    left_out: int = 0  # classes that these leave out
    shared: float = 0.0  # sum of the probabilities that the classes left out share
    scaled: int = 0  # rows with the log-probabilities of all classes that do not add up to 1
    covered: float = 0.0  # sum of the probabilities of these rows
    like_probabilities: int = 0  # rows of logits that could be probabilities

    def lines(self, smoothing: float) -> list[str]:
        """Return the lines; `smoothing` is --target-smoothing."""
        lines = []
        if self.partial:
            lines.append(
                f"classes that targets leave out ({self.partial:,} targets, {self.left_out / self.partial:.1f} classes "
                f"on average) share the missing {100 * self.shared / self.partial:.2f} % evenly"
            )
        if self.scaled:
            lines.append(
                f"the log-probabilities of {self.scaled:,} of {self.rows:,} targets add up to "
                f"{100 * self.covered / self.scaled:.2f} % on average, and are scaled to 100 %"
            )
        if self.hard:
            lines.append(
                f"targets that name a class alone ({self.hard:,} of {self.rows:,}) spread {smoothing:g} over all "
                "classes (--target-smoothing)"
            )
        if self.rows and self.like_probabilities == self.rows:
            lines.append(
                "warning: all logits are from 0 to 1 and add up to 1 in each row. If they are probabilities, give "
                "--target-kind probabilities"
            )
        return lines


@dataclass(frozen=True, kw_only=True)
class TargetReader:
    """Numbers of a kind (probabilities, logits, logprobs or scores) for the classes of a task.

    `smoothing` is the probability that a row with the name of its class alone spreads over all classes.
    """

    task: Task
    target_kind: str
    smoothing: float

    def logits(
        self, raw: RawSplit, targets: RawTargets, classes: Sequence[Sequence[int]], remarks: TargetRemarks
    ) -> np.ndarray:
        """Return the logits [n, C] in float32 whose predictions are the targets of these rows.

        `classes` has the columns of the targets for each class; in a row, one of them has its number. Raises `BadRows`
        for numbers that cannot be; what is worth a line is added to `remarks`.
        """
        remarks.rows += len(targets)
        remarks.hard += int(targets.hard.sum())
        logits = np.empty((len(targets), len(classes)), np.float32)
        for start in range(0, len(targets), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            values = self._values(raw, start, targets.values[rows], classes)
            block = self._block(raw, start, values, targets.hard[rows], remarks)
            self._check_size(raw, start, values, block)
            logits[rows] = block
        return logits

    def _check_size(self, raw: RawSplit, start: int, values: np.ndarray, logits: np.ndarray) -> None:
        """Raise `BadRows` for numbers that are too large to compute with."""
        faults = raw.faults()
        wrong = ~(np.abs(logits) <= LARGEST)
        for row in np.flatnonzero(wrong.any(1)):
            fact = f"the target {values[row, wrong[row].argmax()]:g} is too large to compute with"
            faults.add("large", *raw.place(start + int(row)), fact, CHECK)
        faults.check()

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

    def _block(
        self, raw: RawSplit, start: int, values: np.ndarray, hard: np.ndarray, remarks: TargetRemarks
    ) -> np.ndarray:
        kind = self.task.kind
        if self.target_kind == "scores":
            return kind.as_logits(values[:, 0], 1)
        faults = raw.faults()

        def check(wrong: np.ndarray, fault: str, fact: str, advice: str = CHECK) -> None:
            for row in np.flatnonzero(wrong.reshape(len(values), -1).any(1)):
                wrong_class = int(wrong[row].argmax()) if wrong.ndim == 2 else 0
                name = one_line(self.task.labels[wrong_class], 40)
                value = values[row, wrong_class] if wrong.ndim == 2 else sums[row]
                faults.add(fault, *raw.place(start + int(row)), fact.format(name=name, value=f"{value:.6g}"), advice)
            faults.check()

        soft = ~hard[:, None]
        missing = np.isnan(values)
        sums = (~missing).sum(1).astype(float)
        if kind.distributes:
            check(hard & (sums != 1), "hard", "the target names {value} classes, and a row has one")
        if self.target_kind == "logits":
            check(soft & missing, "class", "no logit of {name}, and the others do not say what it is")
            in_range = ((values >= 0) & (values <= 1)).all(1) & (np.abs(np.nansum(values, 1) - 1) < TOLERANCE)
            remarks.like_probabilities += int((~hard & in_range).sum()) if kind.distributes else 0
            return np.where(soft, values, self._hard(values, kind.distributes))
        if self.target_kind == "logprobs":
            advice = f"{OTHER_KIND} probabilities or logits"
            check(soft & (values > ROUNDING), "above", "the log-probability of {name} is {value}, above 0", advice)
            probabilities = np.exp(np.minimum(values, 0))
        else:
            outside = (values < 0) | (values > 1 + ROUNDING)
            advice = f"{OTHER_KIND} logprobs or logits (percentages are to be divided by 100)"
            check(soft & outside, "outside", "the probability of {name} is {value}, outside 0 to 1", advice)
            probabilities = np.minimum(values, 1)
        if not kind.distributes:
            check(soft & missing, "class", "no probability of {name}")
            return np.where(soft, kind.logits_of(probabilities), self._hard(values, False))
        sums = np.nansum(probabilities, 1)
        counts = missing.sum(1)
        below = ~hard & (counts == 0) & (sums < 1 - TOLERANCE)
        lowest = 1 - TOLERANCE if self.target_kind == "probabilities" else SMALLEST
        wrong = ~hard & (sums > 1 + TOLERANCE) | below & (sums < lowest)
        check(wrong, "sum", f"its {self._noun} add up to {{value}}, not 1")
        remarks.scaled += int(below.sum())
        remarks.covered += float(sums[below].sum())
        shared = np.maximum(1 - sums, 0)
        partial = ~hard & (counts > 0)
        remarks.partial += int(partial.sum())
        remarks.left_out += int(counts[partial].sum())
        remarks.shared += float(shared[partial].sum())
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
