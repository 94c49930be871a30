"""Single label: one of C classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.data.kinds.common_answers import CommonAnswers
from pipeline.data.kinds.task_kind import MANY_CLASSES

if TYPE_CHECKING:
    from torch import Tensor

MOST_CONSTANTS = 100  # classes that are tried as constant predictions, the most frequent ones


@dataclass(frozen=True)
class SingleLabel(CommonAnswers):
    """One of C classes."""

    weights: tuple[float, ...] = ()  # of the classes in the label loss; empty: all alike

    name = "single-label"
    problem_type = "single_label_classification"
    label_dtype = "int64"
    has_classes = True
    agreement_metric = "accuracy"
    guess_proof_metrics = MappingProxyType({"accuracy": 1.0})
    logit_loss_options = ("temperature", "reduction")

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return the number of classes, two or more."""
        if len(set(labels)) < max(2, len(labels)):
            raise ValueError(f"{len(labels)} labels, {len(set(labels))} of them different")
        return len(labels)

    def describe(self, labels: Sequence[str]) -> str:
        """Return the names of the classes."""
        return ", ".join(labels)

    def parse_label(self, value: Any, labels: Sequence[str], by_number: bool) -> Any:
        """Return the number of a class from its name, or from its number."""
        if value in labels:
            return labels.index(value)
        if by_number and value in map(str, range(len(labels))):
            return int(value)
        raise ValueError(f"the label {value!r} is none of {', '.join(labels[:10])}")

    def check_labels(self, values: np.ndarray, num_logits: int, labelled: bool) -> None:
        """Raise ValueError for numbers outside 0..C-1; -1 marks the rows of a split without labels."""
        lowest = 0 if labelled else -1
        if len(values) and not lowest <= values.min() <= values.max() < num_logits:
            raise ValueError(f"label holds {values.min()}..{values.max()}, not {lowest}..{num_logits - 1}")

    def balanced(self, labels: np.ndarray, num_logits: int) -> Self:
        """Return the kind with the weight n / (C · n_c) for class c; a class without rows does not need one."""
        counts = np.bincount(labels, minlength=num_logits)
        weights = len(labels) / (num_logits * np.maximum(counts, 1))
        return replace(self, weights=tuple(weights.tolist()))

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return accuracy first; F1 (of class 1) where there are two classes, average precision where they are few."""
        f1 = ("f1",) if num_logits == 2 else ()
        ranking = ("average_precision",) if num_logits < MANY_CLASSES else ()
        return ("accuracy", "matthews_correlation", *f1, "macro_f1", "micro_f1", *ranking)

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return the class of the largest logit."""
        return logits.argmax(1)

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return 1 for the predicted class, 0 for the others."""
        logits = np.zeros((len(predictions), num_logits))
        logits[np.arange(len(predictions)), predictions] = 1
        return logits

    def constants(self, labels: np.ndarray, num_logits: int) -> list[Any]:
        """Return the classes, the most frequent one first."""
        counts = np.bincount(labels, minlength=num_logits)
        return np.argsort(-counts, kind="stable")[:MOST_CONSTANTS].tolist()

    def errors(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return −log p of the label."""
        errors: np.ndarray = -self.log_probabilities(logits)[np.arange(len(labels)), labels]
        return errors

    def right_answers(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return whether the predicted class is the label."""
        right: np.ndarray = self.predictions(logits) == labels
        return right

    def confidences(self, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the largest probability of each example, and whether its class is the label."""
        return self.probabilities(logits).max(1), self.right_answers(logits, labels)

    def softened(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """Return softmax(z / T), [n, C]."""
        return self.probabilities(logits.astype(np.float64) / temperature)

    def linear_model(self) -> Any:
        """Return a logistic regression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1000)

    def label_loss(self, z_s: "Tensor", y: "Tensor") -> "Tensor":
        """Return the cross-entropy, each example times the weight of its class: a mean over B, not over weights."""
        from torch.nn import functional

        if not self.weights:
            return functional.cross_entropy(z_s.float(), y)
        weights = z_s.new_tensor(self.weights, dtype=z_s.float().dtype)
        return (functional.cross_entropy(z_s.float(), y, reduction="none") * weights[y]).mean()

    def logit_loss(self, z_s: "Tensor", z_t: "Tensor", temperature: Any, reduction: str) -> "Tensor":
        """Return the KD loss between the distributions softened by T (Sun et al. 2019, equation 5).

        reference: T² · mean over B and C of p_t (log p_t − log q); batchmean: T² · mean over B of their sum over C.
        paper: mean over B of −Σ_c p_t log q.
        """
        from torch.nn import functional

        log_q = functional.log_softmax(z_s.float() / temperature, dim=-1)
        log_p = functional.log_softmax(z_t.float() / temperature, dim=-1)
        if reduction == "paper":
            return -(log_p.exp() * log_q).sum(-1).mean()
        divergence = log_p.exp() * (log_p - log_q)
        loss: Tensor = temperature**2 * (divergence.sum(-1) if reduction == "batchmean" else divergence).mean()
        return loss
