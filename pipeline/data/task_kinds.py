"""Kinds of task: everything that differs between classification, regression and whatever comes next is asked here.

Shapes: logits [n, C] or [B, C]; labels [n] or [B]; `labels` (names of classes) is empty where a kind has no classes.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?"


class TaskKind(Protocol):
    """Everything that depends on the kind of task. To add one, see docs/extending.md."""

    name: str
    problem_type: str  # as transformers names it in the configuration of the model
    label_dtype: str  # of the column of labels
    has_classes: bool
    agreement_metric: str  # of a student's predictions against the teacher's
    logit_loss_options: tuple[str, ...]  # options of train-student that `logit_loss` reads

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return C. Raises ValueError for labels that the kind cannot have."""
        ...

    def describe(self, labels: Sequence[str]) -> str:
        """Return the kind, or its classes, in words."""
        ...

    def parse_label(self, text: str, labels: Sequence[str], by_number: bool) -> float:
        """Return the label written as `text`, which `by_number` may be the number of its class.

        Raises ValueError with what is wrong.
        """
        ...

    def check_labels(self, values: np.ndarray, num_logits: int, labelled: bool) -> None:
        """Raise ValueError for stored labels that cannot be."""
        ...

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return the names of the metrics that make sense."""
        ...

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return what a model predicts, [n], in the type of the labels."""
        ...

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return logits [n, C] that predict this."""
        ...

    def constant_prediction(self, labels: np.ndarray, num_logits: int) -> float | None:
        """Return the best prediction without looking at the input; None where it is not worth comparing with."""
        ...

    def doubt(self, metrics: Mapping[str, float]) -> str | None:
        """Return why a teacher with these metrics is to be doubted, None if it is not."""
        ...

    def linear_model(self) -> Any:
        """Return a new scikit-learn estimator that predicts labels from features."""
        ...

    def label_loss(self, z_s: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of student logits [B, C] against labels [B], float32, mean over B."""
        ...

    def logit_loss(self, z_s: "Tensor", z_t: "Tensor", temperature: Any, reduction: str) -> "Tensor":
        """Return the loss of student logits [B, C] against the teacher's, float32 (docs/method.md)."""
        ...


class SingleLabel:
    """One of C classes."""

    name = "single-label"
    problem_type = "single_label_classification"
    label_dtype = "int64"
    has_classes = True
    agreement_metric = "accuracy"
    logit_loss_options: tuple[str, ...] = ("temperature", "reduction")

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return the number of classes, two or more."""
        if len(set(labels)) < max(2, len(labels)):
            raise ValueError(f"{len(labels)} labels, {len(set(labels))} of them different")
        return len(labels)

    def describe(self, labels: Sequence[str]) -> str:
        """Return the names of the classes."""
        return ", ".join(labels)

    def parse_label(self, text: str, labels: Sequence[str], by_number: bool) -> float:
        """Return the number of a class from its name, or from its number."""
        if text in labels:
            return labels.index(text)
        if by_number and text in map(str, range(len(labels))):
            return int(text)
        raise ValueError(f"the label {text!r} is none of {', '.join(labels[:10])}")

    def check_labels(self, values: np.ndarray, num_logits: int, labelled: bool) -> None:
        """Raise ValueError for numbers outside 0..C-1; -1 marks the rows of a split without labels."""
        lowest = 0 if labelled else -1
        if len(values) and not lowest <= values.min() <= values.max() < num_logits:
            raise ValueError(f"label holds {values.min()}..{values.max()}, not {lowest}..{num_logits - 1}")

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return accuracy and MCC; F1 (of class 1) where there are two classes."""
        return ("accuracy", "matthews_correlation", "f1") if num_logits == 2 else ("accuracy", "matthews_correlation")

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return the class of the largest logit."""
        return logits.argmax(1)

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return 1 for the predicted class, 0 for the others."""
        logits = np.zeros((len(predictions), num_logits))
        logits[np.arange(len(predictions)), predictions] = 1
        return logits

    def constant_prediction(self, labels: np.ndarray, num_logits: int) -> float | None:
        """Return the most frequent class."""
        return int(np.bincount(labels, minlength=num_logits).argmax())

    def doubt(self, metrics: Mapping[str, float]) -> str | None:
        """Return None: a weak classifier is one that does no better than the constant prediction."""
        return None

    def linear_model(self) -> Any:
        """Return a logistic regression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1000)

    def label_loss(self, z_s: "Tensor", y: "Tensor") -> "Tensor":
        """Return the cross-entropy."""
        from torch.nn import functional

        return functional.cross_entropy(z_s.float(), y)

    def logit_loss(self, z_s: "Tensor", z_t: "Tensor", temperature: Any, reduction: str) -> "Tensor":
        """Return the KD loss between the distributions softened by T (Sun et al. 2019, equation 5).

        reference: T² · mean over B and C of p_t (log p_t − log q). paper: mean over B of −Σ_c p_t log q.
        """
        from torch.nn import functional

        log_q = functional.log_softmax(z_s.float() / temperature, dim=-1)
        log_p = functional.log_softmax(z_t.float() / temperature, dim=-1)
        if reduction == "paper":
            return -(log_p.exp() * log_q).sum(-1).mean()
        loss: Tensor = temperature**2 * (log_p.exp() * (log_p - log_q)).mean()
        return loss


class Regression:
    """A score: one logit, which is the prediction."""

    name = "regression"
    problem_type = "regression"
    label_dtype = "float32"
    has_classes = False
    agreement_metric = "pearson"
    logit_loss_options: tuple[str, ...] = ()

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return 1. A score does not have labels."""
        if labels:
            raise ValueError(f"{len(labels)} labels of a score")
        return 1

    def describe(self, labels: Sequence[str]) -> str:
        """Return the kind."""
        return "regression"

    def parse_label(self, text: str, labels: Sequence[str], by_number: bool) -> float:
        """Return a finite number, rounded to float32."""
        score = float(np.float32(text)) if re.fullmatch(_NUMBER, text) else math.nan
        if not math.isfinite(score):
            raise ValueError(f"the score {text!r} is not a number")
        return score

    def check_labels(self, values: np.ndarray, num_logits: int, labelled: bool) -> None:
        """Raise ValueError for scores that are not finite."""
        if not np.isfinite(values).all():
            raise ValueError("a label is not finite")

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return both correlations."""
        return ("pearson", "spearman")

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return the logit itself."""
        return logits[:, 0]

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return the scores as the one logit."""
        return predictions[:, None]

    def constant_prediction(self, labels: np.ndarray, num_logits: int) -> float | None:
        """Return None: a constant correlates with nothing."""
        return None

    def doubt(self, metrics: Mapping[str, float]) -> str | None:
        """Return what is odd about a first correlation that is not positive."""
        return "scores do not rise with the labels" if next(iter(metrics.values())) <= 0 else None

    def linear_model(self) -> Any:
        """Return a ridge regression."""
        from sklearn.linear_model import Ridge

        return Ridge()

    def label_loss(self, z_s: "Tensor", y: "Tensor") -> "Tensor":
        """Return the mean squared error."""
        from torch.nn import functional

        return functional.mse_loss(z_s.float().squeeze(-1), y.float())

    def logit_loss(self, z_s: "Tensor", z_t: "Tensor", temperature: Any, reduction: str) -> "Tensor":
        """Return the mean squared error; temperature and reduction do not matter."""
        from torch.nn import functional

        return functional.mse_loss(z_s.float(), z_t.float())


SINGLE_LABEL, REGRESSION = SingleLabel(), Regression()
TASK_KINDS: Mapping[str, TaskKind] = {kind.name: kind for kind in (SINGLE_LABEL, REGRESSION)}


def implied_kind(labels: Sequence[str]) -> TaskKind:
    """Return the kind that is meant where only the labels are given, as in caches of format 2."""
    return SINGLE_LABEL if labels else REGRESSION
