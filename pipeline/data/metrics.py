"""The metrics of predictions. Higher is better, and a value that is not finite counts as 0."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.task_kinds import TaskKind
from pipeline.errors import one_line

SHORT_NAMES = {"mcc": "matthewscorrelation", "acc": "accuracy", "ap": "averageprecision", "f1score": "f1"}
SHORT_NAMES |= {"f1macro": "macrof1", "f1micro": "microf1", "pearsonr": "pearson", "spearmanr": "spearman"}
OF_CLASS = ("f1", "average_precision")  # can be of one class, as f1:CLASS


@dataclass(frozen=True)
class Predicted:
    """The predictions of a model for n examples, beside their labels."""

    predictions: np.ndarray  # as `labels`
    logits: np.ndarray  # [n, C]
    labels: np.ndarray  # [n], or [n, C] where an example can have several classes
    class_number: int | None  # of a metric of one class

    def of_class(self) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and predictions of one class, by default of class 1: bool [n]."""
        number = 1 if self.class_number is None else self.class_number
        if self.labels.ndim == 2:
            return self.labels[:, number] > 0, self.predictions[:, number] > 0
        return self.labels == number, self.predictions == number


def measure(
    kind: TaskKind, metrics: Sequence[str], logits: np.ndarray, labels: np.ndarray, classes: Sequence[str] = ()
) -> dict[str, float]:
    """Return each metric of the predictions of these logits [n, C] against labels.

    `classes` are the names of the classes, for metrics of one class.
    """
    predictions = kind.predictions(logits)
    return {name: _value(name, predictions, logits, labels, classes) for name in metrics}


def agreement(kind: TaskKind, student: np.ndarray, teacher: np.ndarray, teachers_kind: TaskKind | None = None) -> float:
    """Return how well the predictions of two models agree, from their logits [n, C], by the kind's own measure.

    `teachers_kind` has the teacher's settings, where they are not the student's.
    """
    reference = (teachers_kind or kind).predictions(teacher)
    return _value(kind.agreement_metric, kind.predictions(student), student, reference, ())


def check_metric(kind: TaskKind, classes: Sequence[str], name: str) -> None:
    """Raise ValueError, with the metrics that make sense, for one that does not."""
    ordinary = kind.metrics(kind.num_logits(classes))
    metric, colon, of_class = name.partition(":")
    if name in ordinary or (kind.has_classes and metric in OF_CLASS and of_class in classes):
        return
    possible = ", ".join((*ordinary, *(f"{metric}:CLASS" for metric in OF_CLASS if kind.has_classes)))
    if kind.has_classes and metric in OF_CLASS:
        problem = f"there is no class {one_line(of_class, 40)!r}" if colon else f"{metric} is of one class"
        same = [f"{metric}:{c}" for c in classes if c.casefold() == of_class.strip().casefold()]
        advice = f"Use {same[0]}; or one of" if same else "Use one of"
        raise ValueError(f"{problem}. {advice} {possible}, where CLASS is one of {', '.join(classes[:10])}")
    if metric in METRICS:
        raise ValueError(f"{one_line(name, 40)} does not fit a {kind.title} task. Use one of {possible}")
    meant = _nearest(name, [*ordinary, *(f"{metric}:{c}" for metric in OF_CLASS if kind.has_classes for c in classes)])
    advice = f"Use {meant}; or one of" if meant else "Use one of"
    raise ValueError(f"there is no metric {one_line(name, 40)!r}. {advice} {possible}")


def _nearest(name: str, metrics: Sequence[str]) -> str | None:
    """Return the metric that was meant by another spelling or a short name, None if that is not certain."""

    def key(name: str) -> str:
        metric, colon, of_class = name.casefold().partition(":")
        letters = "".join(filter(str.isalnum, metric))
        return SHORT_NAMES.get(letters, letters) + colon + of_class.strip()

    keys = {key(metric): metric for metric in reversed(metrics)}
    nearest = difflib.get_close_matches(key(name), keys, 1, cutoff=0.75)
    return keys[nearest[0]] if nearest else None


def _value(name: str, predictions: np.ndarray, logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> float:
    metric, colon, of_class = name.partition(":")
    number = list(classes).index(of_class) if colon else None
    value = float(METRICS[metric](Predicted(predictions, logits, labels, number)))
    return value if math.isfinite(value) else 0.0


def _accuracy(given: Predicted) -> float:
    from sklearn.metrics import accuracy_score

    return accuracy_score(given.labels, given.predictions)


def _f1(given: Predicted) -> float:
    from sklearn.metrics import f1_score

    return f1_score(*given.of_class(), zero_division=0)


def _mean_f1(average: str) -> Callable[[Predicted], float]:
    def mean(given: Predicted) -> float:
        from sklearn.metrics import f1_score

        return f1_score(given.labels, given.predictions, average=average, zero_division=0)

    return mean


def _average_precision(given: Predicted) -> float:
    """Return that of one class (class 1 of two), or the mean over the classes that have examples."""
    from scipy.special import log_softmax
    from sklearn.metrics import average_precision_score

    labels, scores = given.labels, given.logits
    if labels.ndim == 1:
        labels, scores = np.arange(scores.shape[1]) == labels[:, None], log_softmax(scores, axis=1)
        if scores.shape[1] == 2 and given.class_number is None:
            labels, scores = labels[:, 1:], scores[:, 1:]
    columns = range(labels.shape[1]) if given.class_number is None else [given.class_number]
    values = [average_precision_score(labels[:, c], scores[:, c]) for c in columns if labels[:, c].any()]
    return float(np.mean(values)) if values else 0.0


def _matthews_correlation(given: Predicted) -> float:
    from sklearn.metrics import matthews_corrcoef

    if len(np.unique((given.labels, given.predictions))) < 2:  # one class alone, of which scikit-learn warns
        return 0.0
    return matthews_corrcoef(given.labels, given.predictions)


def _correlation(function: str) -> Callable[[Predicted], float]:
    def correlation(given: Predicted) -> float:
        from scipy import stats

        predicted, labels = given.predictions, given.labels
        constant = len(labels) < 2 or np.ptp(predicted) == 0 or np.ptp(labels) == 0  # it correlates with nothing
        return 0.0 if constant else getattr(stats, function)(predicted, labels)[0]

    return correlation


METRICS: Mapping[str, Callable[[Predicted], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _mean_f1("macro"),
    "micro_f1": _mean_f1("micro"),
    "average_precision": _average_precision,
    "matthews_correlation": _matthews_correlation,
    "pearson": _correlation("pearsonr"),
    "spearman": _correlation("spearmanr"),
}
