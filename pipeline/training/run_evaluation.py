"""The evaluation of a run on its splits, and the comparison of two."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.data.calibration import Calibration
from pipeline.data.evaluation import ClassScores, evaluate
from pipeline.data.intervals import Interval
from pipeline.data.labels.label_names import listed
from pipeline.data.metrics import agreement
from pipeline.data.paired import PairedDifference, paired_difference
from pipeline.errors import BadRun
from pipeline.training.measured_run import MeasuredRun, Outputs

ALONE = "Evaluate it alone"


@dataclass(frozen=True)
class RunEvaluation:
    """The measurements of a run, by split: everything but `examples` on those with a label.

    `agreement` and `kl` are with the cached teacher, of all examples, empty without one; `kl` of scores is their mean
    squared difference.
    """

    run: str
    examples: dict[str, int]
    metrics: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, Interval]]
    per_class: dict[str, dict[str, ClassScores]]
    calibration: dict[str, Calibration]
    agreement: dict[str, float]
    kl: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """A run against another one on one split; the difference is that of `run` minus that of `against`."""

    run: str
    against: str
    split: str
    metric: str
    difference: float
    interval: Interval
    mcnemar_p: float | None  # None for a kind of task without right and wrong answers, as the two counts
    only_run_right: int | None
    only_against_right: int | None


def evaluate_run(run: MeasuredRun, outputs: Outputs) -> RunEvaluation:
    """Return the evaluation of a run from its logits. Raises `BadRun` for logits that are not finite."""
    if broken := [name for name, logits in outputs.logits.items() if not np.isfinite(logits).all()]:
        raise BadRun(f"{run.name}: its predictions on {broken[0]} are not finite numbers. Train the run again")
    splits = {name: split for name, split in run.splits.items() if split.labelled}
    evaluations = {name: evaluate(run.metrics, outputs.logits[name], split.labels) for name, split in splits.items()}
    kind, teachers_kind = run.metrics.kind, outputs.teachers_kind or run.metrics.kind
    pairs = {name: (outputs.logits[name], teacher) for name, teacher in outputs.teacher.items()}
    return RunEvaluation(
        run.name,
        {name: len(split) for name, split in run.splits.items()},
        {name: each.metrics for name, each in evaluations.items()},
        {name: each.intervals for name, each in evaluations.items()},
        {name: each.per_class for name, each in evaluations.items() if each.per_class},
        {name: each.calibration for name, each in evaluations.items() if each.calibration},
        {name: agreement(kind, *pair, teachers_kind) for name, pair in pairs.items()},
        {name: kl for name, pair in pairs.items() if np.isfinite(kl := kind.divergence(*pair, teachers_kind))},
    )


def compare(run: MeasuredRun, outputs: Outputs, against: MeasuredRun, reference: Outputs) -> Iterator[Comparison]:
    """Yield the comparison of two runs on each labelled split; `check_comparable` has accepted them."""
    for name, split in against.splits.items():
        if split.labelled:
            difference = paired_difference(
                run.metrics, outputs.logits[name], against.metrics, reference.logits[name], split.labels
            )
            yield _comparison(run.name, against.name, name, difference)


def _comparison(run: str, against: str, split: str, pair: PairedDifference) -> Comparison:
    test = (pair.test.p, pair.test.only_first, pair.test.only_second) if pair.test else (None, None, None)
    return Comparison(run, against, split, pair.metric, pair.difference, pair.interval, *test)


def check_comparable(run: MeasuredRun, against: MeasuredRun) -> None:
    """Raise `BadRun` for runs of other kinds or classes of tasks, or that are measured on other rows."""
    pair = f"{run.name} cannot be compared with {against.name}"
    kind, reference = run.metrics.kind, against.metrics.kind
    if kind.title != reference.title:
        raise BadRun(f"{pair}: it is of a {kind.title} task, and that of a {reference.title} task. {ALONE}")
    if run.metrics.classes != against.metrics.classes:
        raise BadRun(
            f"{pair}: it has the classes {listed(run.metrics.classes)}, and that {listed(against.metrics.classes)}, "
            f"in this order. {ALONE}"
        )
    for name in dict.fromkeys((*against.splits, *run.splits)):
        if not (name in run.splits and name in against.splits and _same_rows(run, against, name)):
            raise BadRun(f"{pair}: they are measured on other rows of {name}. {ALONE}, or name the same rows for both")


def _same_rows(run: MeasuredRun, against: MeasuredRun, split: str) -> bool:
    """Return whether a split has the same texts and labels in both, in the same order; else the same tokens."""
    first, second = run.splits[split], against.splits[split]
    if len(first) != len(second) or not np.array_equal(first.labels, second.labels, equal_nan=True):
        return False
    texts, reference_texts = run.texts(split), against.texts(split)
    if texts is None or reference_texts is None:
        return np.array_equal(first.column("row_hash"), second.column("row_hash"))
    return np.array_equal(texts, reference_texts)
