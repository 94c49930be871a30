"""The answers to the questions of `TaskKind` that most kinds of task have in common."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from pipeline.data.kinds.task_kind import SMALLEST, UNLABELLED


class CommonAnswers:
    """The answers of a kind whose label is one value, whose logits are stored as they are, without settings."""

    name: str
    problem_type: str
    label_dtype: str
    guess_proof_metrics: Mapping[str, float] = MappingProxyType({})
    logit_loss_options: tuple[str, ...] = ()
    target_kinds: tuple[str, ...] = ("probabilities", "logits", "logprobs")
    distributes = True
    error_metrics: tuple[str, ...] = ("log_loss",)
    setting_names: tuple[str, ...] = ()  # fields of the kind

    @property
    def title(self) -> str:
        """The name of the kind."""
        return self.name

    def logits_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the logarithms, that of 0 as -87.3: softmax gives the probabilities back."""
        return np.log(np.maximum(probabilities, SMALLEST))

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return softmax(z)."""
        from scipy.special import softmax

        return softmax(logits.astype(np.float64), axis=1)

    def log_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return log softmax(z)."""
        from scipy.special import log_softmax

        return log_softmax(logits.astype(np.float64), axis=1)

    def accepts(self, problem_type: str | None) -> bool:
        """Return whether it is that of the kind, or not named."""
        return problem_type in (None, self.problem_type)

    def label_width(self, num_logits: int) -> int:
        """Return 0: the label is one value."""
        return 0

    def sequences(self, num_logits: int) -> int:
        """Return 1."""
        return 1

    def has_label(self, labels: Any) -> Any:
        """Return whether it is not the mark of a missing label, -1 in every place: bool [n]."""
        return labels >= 0 if labels.ndim == 1 else (labels >= 0).all(-1)

    def without_labels(self, count: int, num_logits: int) -> np.ndarray:
        """Return -1 in every place."""
        width = self.label_width(num_logits)
        return np.full((count, width) if width else count, UNLABELLED, self.label_dtype)

    @property
    def settings(self) -> dict[str, float]:
        """The fields that are settings."""
        return {name: getattr(self, name) for name in self.setting_names}

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """Return the kind with these numbers. Raises ValueError for other names, or what is not a number."""
        for name, value in settings.items():
            if name not in self.setting_names or isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name!s:.40} is {value!r:.40}")
        return replace(self, **settings) if settings else self  # type: ignore[type-var]

    def fitted(self, labels: np.ndarray) -> Self:
        """Return the kind: it takes nothing from the training labels."""
        return self

    def tuned(self, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Return the kind: it takes nothing from the dev split."""
        return self

    def first_logits(self, labels: np.ndarray) -> np.ndarray | None:
        """Return None."""
        return None

    def stored(self, logits: np.ndarray) -> np.ndarray:
        """Return the logits."""
        return logits

    def from_stored(self, values: np.ndarray) -> np.ndarray:
        """Return the logits."""
        return values

    def divergence(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: Any) -> float:
        """Return the mean over n of Σ_c p_t (log p_t − log p_s), at T = 1."""
        log_q, log_p = self.log_probabilities(logits), self.log_probabilities(teacher)
        return float((np.exp(log_p) * (log_p - log_q)).sum(1).mean())

    def contradiction(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: Any) -> np.ndarray:
        """Return the probability of the predicted class where the teacher predicts another, else 0."""
        differs = self.predictions(logits) != teachers_kind.predictions(teacher)  # type: ignore[attr-defined]
        return np.where(differs, self.probabilities(logits).max(1), 0.0)

    def softened(self, logits: np.ndarray, temperature: float) -> np.ndarray | None:
        """Return None."""
        return None

    def doubt(self, metrics: Mapping[str, float]) -> str | None:
        """Return None: a weak teacher is one that does no better than a constant prediction."""
        return None

    def misses(self, logits: np.ndarray, labels: np.ndarray) -> str | None:
        """Return None: the metrics say how far predictions are from the labels."""
        return None
