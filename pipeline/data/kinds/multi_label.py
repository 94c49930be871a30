"""Multi-label: any number of C classes, none included."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.data.kinds.common_answers import CommonAnswers
from pipeline.data.kinds.task_kind import MANY_CLASSES, SMALLEST

if TYPE_CHECKING:
    from torch import Tensor

CERTAIN = 40.0  # a logit whose sigmoid is 1 in float64
MOST_CONSTANTS = 100  # constant predictions that are tried: the k most frequent classes


@dataclass(frozen=True)
class MultiLabel(CommonAnswers):
    """Any number of C classes: those whose probability, sigmoid(logit), reaches `label_threshold`."""

    label_threshold: float = 0.5
    weights: tuple[float, ...] = ()  # of the rows that have each class, in the label loss; empty: 1

    name = "multi-label"
    problem_type = "multi_label_classification"
    label_dtype = "int8"  # -1 in the rows of a split without labels
    has_classes = True
    agreement_metric = "micro_f1"
    guess_proof_metrics = MappingProxyType({"macro_f1": 1.1})  # by chance 1.03 was seen
    logit_loss_options = ("temperature", "reduction")
    distributes = False
    setting_names = ("label_threshold",)

    def __post_init__(self) -> None:
        """Raise ValueError for a threshold that is not a probability."""
        if not 0 <= self.label_threshold <= 1:
            raise ValueError(f"label_threshold is {self.label_threshold}")

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return the number of classes, two or more."""
        if len(set(labels)) < max(2, len(labels)):
            raise ValueError(f"{len(labels)} labels, {len(set(labels))} of them different")
        return len(labels)

    def label_width(self, num_logits: int) -> int:
        """Return C: 0 or 1 for each class."""
        return num_logits

    def describe(self, labels: Sequence[str]) -> str:
        """Return the names of the classes."""
        return f"any of {', '.join(labels)}"

    def parse_label(self, value: Any, labels: Sequence[str], by_number: bool) -> Any:
        """Return 0 or 1 for each class, int8 [C], from the names of the classes that a row has."""
        row = np.zeros(len(labels), np.int8)
        for name in value:
            if name not in labels:
                raise ValueError(f"the label {name!r} is none of {', '.join(labels[:10])}")
            row[labels.index(name)] = 1
        return row

    def check_labels(self, values: np.ndarray, num_logits: int, labelled: bool) -> None:
        """Raise ValueError for values other than 0 and 1; -1 everywhere marks a split without labels."""
        lowest, highest = (0, 1) if labelled else (-1, -1)
        if len(values) and not lowest <= values.min() <= values.max() <= highest:
            raise ValueError(f"label holds {values.min()}..{values.max()}, not {lowest}..{highest}")

    def balanced(self, labels: np.ndarray, num_logits: int) -> Self:
        """Return the kind with the weight (n − n_c) / n_c for rows of class c; 1 for a class of all rows or none."""
        counts = labels.sum(0, dtype=np.int64)
        weights = np.where((counts > 0) & (counts < len(labels)), (len(labels) - counts) / np.maximum(counts, 1), 1.0)
        return replace(self, weights=tuple(weights.tolist()))

    def first_logits(self, labels: np.ndarray) -> np.ndarray | None:
        """Return the log odds of each class among the rows; None where weights have evened them out.

        From zeros, AdamW would take thousands of steps to get there, and spend the encoder's features on it.
        """
        if self.weights:
            return None
        counts = labels.sum(0, dtype=np.float64)
        return np.log((counts + 0.5) / (len(labels) - counts + 0.5))

    def tuned(self, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Return the kind with the threshold of the best micro F1: midway to the next lower probability."""
        from sklearn.metrics import precision_recall_curve

        if not labels.any():
            return self
        precision, recall, thresholds = precision_recall_curve(labels.ravel(), self.probabilities(logits).ravel())
        f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-12)
        best = int(f1.argmax())
        lower = thresholds[best - 1] if best else 0.0
        return replace(self, label_threshold=float((lower + thresholds[best]) / 2))

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return micro F1 first; accuracy counts the rows whose classes are all right."""
        ranking = ("average_precision",) if num_logits < MANY_CLASSES else ()
        return ("micro_f1", "macro_f1", *ranking, "accuracy")

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of each class, float64 [n, C]."""
        from scipy.special import expit

        return expit(logits.astype(np.float64))

    def log_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return log sigmoid(z)."""
        from scipy.special import log_expit

        return log_expit(logits.astype(np.float64))

    def logits_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the log odds, at most those of float64: sigmoid gives the probabilities back."""
        from scipy.special import logit

        return np.maximum(np.minimum(logit(probabilities), CERTAIN), np.log(SMALLEST))

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return 1 for the classes whose probability reaches the threshold, int8 [n, C]."""
        return (self.probabilities(logits) >= self.label_threshold).astype(np.int8)

    def errors(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return −log p of the label of each class, mean over the classes."""
        errors: np.ndarray = -self.log_probabilities(np.where(labels > 0, logits, -logits)).mean(1)
        return errors

    def right_answers(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Return None: an example has an answer for each class."""
        return None

    def confidences(self, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class of each example, and whether the example has it: [n · C]."""
        return self.probabilities(logits).ravel(), labels.ravel() > 0

    def divergence(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: Any) -> float:
        """Return the sum over the classes of the KL of their two probabilities, mean over n."""
        pairs = ((self.log_probabilities(sign * teacher), self.log_probabilities(sign * logits)) for sign in (1, -1))
        return float(sum((np.exp(log_p) * (log_p - log_q)).sum(1).mean() for log_p, log_q in pairs))

    def contradiction(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: Any) -> np.ndarray:
        """Return the largest difference of the probabilities of a class that one model predicts and the other not."""
        differs = self.predictions(logits) != teachers_kind.predictions(teacher)
        distance = np.abs(self.probabilities(logits) - teachers_kind.probabilities(teacher))
        return np.where(differs, np.maximum(distance, SMALLEST), 0.0).max(1)

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return logits that are certain."""
        return np.where(predictions > 0, CERTAIN, -CERTAIN)

    def constants(self, labels: np.ndarray, num_logits: int) -> list[Any]:
        """Return the most frequent class, the two most frequent ones, and so on, and none: each int8 [C]."""
        order = np.argsort(-labels.sum(0, dtype=np.int64), kind="stable")
        constants = np.zeros((min(num_logits, MOST_CONSTANTS) + 1, num_logits), np.int8)
        for count, row in enumerate(constants[:-1], start=1):
            row[order[:count]] = 1
        return list(constants)

    def softened(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """Return the two probabilities of each class at T, [n · C, 2]."""
        p = self.probabilities(logits.reshape(-1) / temperature)
        return np.stack((p, 1 - p), axis=1)

    def linear_model(self) -> Any:
        """Return a logistic regression for each class."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier

        return OneVsRestClassifier(LogisticRegression(max_iter=1000))

    def label_loss(self, z_s: "Tensor", y: "Tensor") -> "Tensor":
        """Return the binary cross-entropy, mean over B and C."""
        from torch.nn import functional

        weights = z_s.new_tensor(self.weights, dtype=z_s.float().dtype) if self.weights else None
        return functional.binary_cross_entropy_with_logits(z_s.float(), y.float(), pos_weight=weights)

    def logit_loss(self, z_s: "Tensor", z_t: "Tensor", temperature: Any, reduction: str) -> "Tensor":
        """Return the KD loss of each class as of two classes, softened by T: p = sigmoid(z_t / T), q of the student.

        reference: T² · mean over B and C of KL(p ‖ q); batchmean: T² · mean over B of their sum over C. paper: mean
        over B of the sum over C of −p log q − (1 − p) log(1 − q).
        """
        from torch.nn import functional

        log_q, log_not_q = (functional.logsigmoid(sign * z_s.float() / temperature) for sign in (1, -1))
        log_p, log_not_p = (functional.logsigmoid(sign * z_t.float() / temperature) for sign in (1, -1))
        p, not_p = log_p.exp(), log_not_p.exp()
        if reduction == "paper":
            return -(p * log_q + not_p * log_not_q).sum(-1).mean()
        divergence = p * (log_p - log_q) + not_p * (log_not_p - log_not_q)
        loss: Tensor = temperature**2 * (divergence.sum(-1) if reduction == "batchmean" else divergence).mean()
        return loss
