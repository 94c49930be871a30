"""Regression: a score, as it is or standardised inside the model."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.data.kinds.common_answers import CommonAnswers

if TYPE_CHECKING:
    from torch import Tensor

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"


@dataclass(frozen=True)
class Regression(CommonAnswers):
    """A score: one logit, which is the prediction."""

    name = "regression"
    problem_type = "regression"
    label_dtype = "float32"
    has_classes = False
    agreement_metric = "pearson"
    error_metrics = ("rmse", "mae")
    target_kinds = ("scores",)

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return 1. A score does not have labels."""
        if labels:
            raise ValueError(f"{len(labels)} labels of a score")
        return 1

    def describe(self, labels: Sequence[str]) -> str:
        """Return the kind."""
        return "regression"

    def parse_label(self, value: Any, labels: Sequence[str], by_number: bool) -> Any:
        """Return a finite number in the type of the column."""
        text = str(value)
        with np.errstate(over="ignore"):
            score = float(np.dtype(self.label_dtype).type(text)) if re.fullmatch(_NUMBER, text) else math.nan
        if not math.isfinite(score):
            raise ValueError(f"the score {value!r} is not a number")
        return score

    def check_labels(self, values: np.ndarray, num_logits: int, labelled: bool) -> None:
        """Raise ValueError for scores that are not finite."""
        if not np.isfinite(values).all():
            raise ValueError("a label is not finite")

    def has_label(self, labels: Any) -> Any:
        """Return whether it is a number: any number can be a score."""
        return labels == labels  # false for NaN alone

    def without_labels(self, count: int, num_logits: int) -> np.ndarray:
        """Return NaN for each."""
        return np.full(count, np.nan, self.label_dtype)

    def balanced(self, labels: np.ndarray, num_logits: int) -> Self:
        """Raise ValueError: there are no classes."""
        raise ValueError("scores do not have classes to weigh")

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return both correlations."""
        return ("pearson", "spearman")

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return the logit itself."""
        return logits[:, 0]

    def errors(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return score minus label, in the units of the labels."""
        return self.predictions(logits).astype(np.float64) - labels

    def right_answers(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Return None: a score is more or less right."""
        return None

    def confidences(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Return None: a score does not have a probability."""
        return None

    def divergence(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: Any) -> float:
        """Return the mean squared difference of the scores, in the units of the labels."""
        difference = self.predictions(logits).astype(np.float64) - teachers_kind.predictions(teacher)
        return float(np.square(difference).mean())

    def contradiction(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: Any) -> np.ndarray:
        """Return the distance of the scores, in the units of the labels."""
        return np.abs(self.predictions(logits).astype(np.float64) - teachers_kind.predictions(teacher))

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return the scores as the one logit."""
        return predictions[:, None]

    def constants(self, labels: np.ndarray, num_logits: int) -> list[Any]:
        """Return none: a constant correlates with nothing."""
        return []

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


@dataclass(frozen=True)
class ScaledRegression(Regression):
    """A score in the user's units: label_mean + label_std · logit. Labels are kept in these units too."""

    label_mean: float = 0.0
    label_std: float = 1.0  # a teacher without these settings predicts in the user's units

    name = "scaled-regression"
    label_dtype = "float64"
    setting_names = ("label_mean", "label_std")

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that cannot be."""
        if not (math.isfinite(self.label_mean) and math.isfinite(self.label_std) and self.label_std > 0):
            raise ValueError(f"scores with mean {self.label_mean} and standard deviation {self.label_std}")

    @property
    def title(self) -> str:
        """The name of the kind for a user, who does not choose how scores are kept."""
        return "regression"

    def describe(self, labels: Sequence[str]) -> str:
        """Return the kind, and the range of scores in the user's units."""
        return f"regression of scores with mean {self.label_mean:.6g} and standard deviation {self.label_std:.6g}"

    def fitted(self, labels: np.ndarray) -> Self:
        """Return the kind with mean and standard deviation of the training labels [n].

        Raises ValueError where all are the same, or too large to compute with.
        """
        if len(labels) and (labels == labels[0]).all():
            raise ValueError(f"every score is {labels[0]:g}, so there is nothing to learn")
        with np.errstate(over="ignore"):
            mean, std = float(labels.mean()), float(labels.std())
        if not (math.isfinite(mean) and math.isfinite(std)) or std < 1e-12 * abs(mean) or std < 1e-150:
            raise ValueError(f"the scores from {labels.min():g} to {labels.max():g} cannot be standardised")
        return replace(self, label_mean=mean, label_std=std)

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return the scores in the user's units, float64."""
        return self.label_mean + self.label_std * logits[:, 0].astype(np.float64)

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return the standardised scores."""
        return ((predictions - self.label_mean) / self.label_std)[:, None]

    def stored(self, logits: np.ndarray) -> np.ndarray:
        """Return the scores in the user's units, float64 [n, 1]."""
        return self.predictions(logits)[:, None]

    def from_stored(self, values: np.ndarray) -> np.ndarray:
        """Return the standardised scores."""
        return self.as_logits(values[:, 0], 1)

    def misses(self, logits: np.ndarray, labels: np.ndarray) -> str | None:
        """Return the squared error of predictions that the mean label beats, as of scores in other units.

        Correlations do not see units.
        """
        scores = self.predictions(logits)
        error, of_mean = np.square(scores - labels).mean(), labels.var()
        if error <= of_mean:
            return None
        fact = f"mean squared error is {error:.4g}, and the mean label alone gives {of_mean:.4g}"
        if max(abs(scores.mean() - labels.mean()), scores.std()) <= 2 * labels.std():
            return fact
        return (
            f"{fact}. Its scores are {scores.mean():.4g} ± {scores.std():.4g}, the labels {labels.mean():.4g} ± "
            f"{labels.std():.4g}; they may be in other units"
        )

    def label_loss(self, z_s: "Tensor", y: "Tensor") -> "Tensor":
        """Return the mean squared error of standardised scores."""
        return super().label_loss(z_s, (y - self.label_mean) / self.label_std)
