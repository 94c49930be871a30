"""The questions that every kind of task answers.

Shapes: logits [n, C] or [B, C]; labels [n] or [B], or with a width [n, W] or [B, W]; `labels` (names of classes) is
empty where a kind has no classes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = -1  # in place of the number of a class
OTHER_CLASS = -2  # of training rows, where the classes are those of a model: one that it does not have
SMALLEST = float(np.finfo(np.float32).tiny)  # in place of a probability of 0, so that its logarithm is finite: -87.3
MANY_CLASSES = 200  # from which an average precision of each class takes too long


class TaskKind(Protocol):
    """Everything that depends on the kind of task. To add one, see docs/extending.md."""

    name: str
    problem_type: str  # as transformers names it in the configuration of the model
    label_dtype: str  # of the column of labels
    has_classes: bool
    agreement_metric: str  # of a student's predictions against the teacher's

    @property
    def title(self) -> str:
        """The name in messages."""
        ...

    @property
    def error_metrics(self) -> tuple[str, ...]:
        """The metrics of `errors`, of which lower is better: they never judge."""
        ...

    @property
    def guess_proof_metrics(self) -> Mapping[str, float]:
        """The metrics in which no guess reaches this many times the best constant prediction; a useful model may."""
        ...

    @property
    def logit_loss_options(self) -> tuple[str, ...]:
        """The options of train-student that `logit_loss` reads."""
        ...

    @property
    def target_kinds(self) -> tuple[str, ...]:
        """The values of --target-kind that the numbers of a teacher can have, the default first."""
        ...

    @property
    def distributes(self) -> bool:
        """Whether the probabilities of the classes add up to 1; else each class has one of its own."""
        ...

    def logits_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Return finite logits [n, C] of these probabilities of the classes, float64; 0 and 1 included."""
        ...

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of each class, float64 [n, C], of a kind with classes or choices."""
        ...

    def log_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the logarithms of `probabilities`, float64 [n, C]."""
        ...

    def accepts(self, problem_type: str | None) -> bool:
        """Return whether a teacher with this `problem_type` (None: it does not name one) can be of this kind."""
        ...

    def num_logits(self, labels: Sequence[str]) -> int:
        """Return C. Raises ValueError for labels that the kind cannot have."""
        ...

    def label_width(self, num_logits: int) -> int:
        """Return the number of values in the label of an example; 0: a single value, not an array."""
        ...

    def sequences(self, num_logits: int) -> int:
        """Return S, the number of inputs of an example: 1, or the number of choices of a question."""
        ...

    def describe(self, labels: Sequence[str]) -> str:
        """Return the kind, or its classes, in words."""
        ...

    def parse_label(self, value: Any, labels: Sequence[str], by_number: bool) -> Any:
        """Return the label written as `value`, which `by_number` may be the number of its class.

        Raises ValueError with what is wrong.
        """
        ...

    def check_labels(self, values: np.ndarray, num_logits: int, labelled: bool) -> None:
        """Raise ValueError for stored labels that cannot be."""
        ...

    def has_label(self, labels: Any) -> Any:
        """Return which examples have a label: bool [n], of an array or a tensor."""
        ...

    def without_labels(self, count: int, num_logits: int) -> np.ndarray:
        """Return the labels of `count` examples that do not have any."""
        ...

    # --- settings: the numbers of a task that are not options ------------------------------------

    @property
    def settings(self) -> dict[str, float]:
        """The numbers that predictions need beside the logits; models keep them in their configuration."""
        ...

    def with_settings(self, settings: Mapping[str, Any]) -> "TaskKind":
        """Return the kind with these numbers. Raises ValueError for numbers that cannot be."""
        ...

    def fitted(self, labels: np.ndarray) -> "TaskKind":
        """Return the kind with what it takes from the training labels. Raises ValueError if they say nothing."""
        ...

    def balanced(self, labels: np.ndarray, num_logits: int) -> "TaskKind":
        """Return the kind whose label loss counts every class alike, by its frequency in the training labels.

        Raises ValueError for a kind without classes.
        """
        ...

    def tuned(self, logits: np.ndarray, labels: np.ndarray) -> "TaskKind":
        """Return the kind with what it takes from a model's logits on the dev split, as a threshold."""
        ...

    def first_logits(self, labels: np.ndarray) -> np.ndarray | None:
        """Return the logits [C] that a new head starts from, in view of the training labels; None for zeros."""
        ...

    # --- predictions -----------------------------------------------------------------------------

    def metrics(self, num_logits: int) -> tuple[str, ...]:
        """Return the names of the metrics that make sense; by default the first one judges."""
        ...

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return what a model predicts, in the type and shape of the labels."""
        ...

    def as_logits(self, predictions: np.ndarray, num_logits: int) -> np.ndarray:
        """Return logits [n, C] that predict this."""
        ...

    def stored(self, logits: np.ndarray) -> np.ndarray:
        """Return what predictions.safetensors holds of logits: [n, C]."""
        ...

    def from_stored(self, values: np.ndarray) -> np.ndarray:
        """Return the logits [n, C] of what `stored` returned."""
        ...

    def constants(self, labels: np.ndarray, num_logits: int) -> list[Any]:
        """Return the predictions worth making without looking at the input; none where that is not a comparison."""
        ...

    def doubt(self, metrics: Mapping[str, float]) -> str | None:
        """Return why a teacher with these metrics is to be doubted, None if it is not."""
        ...

    def misses(self, logits: np.ndarray, labels: np.ndarray) -> str | None:
        """Return how far from the labels predictions are that no metric of the kind can tell; None if they are not."""
        ...

    def errors(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the error of each prediction, float64 [n]: -log p of its label, or score minus label."""
        ...

    def right_answers(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Return which predictions are right, bool [n]; None for a kind whose examples have more than one answer."""
        ...

    def confidences(self, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the probability of each decision, and whether it is right: [m] each; None without probabilities."""
        ...

    def divergence(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: "TaskKind") -> float:
        """Return KL(teacher ‖ student) of logits [n, C] each, in nats, mean over n; of scores their squared difference.

        `teachers_kind` has the settings of the teacher.
        """
        ...

    def contradiction(self, logits: np.ndarray, teacher: np.ndarray, teachers_kind: "TaskKind") -> np.ndarray:
        """Return how far each prediction is from the teacher's, float64 [n]; 0 where they are the same."""
        ...

    def softened(self, logits: np.ndarray, temperature: float) -> np.ndarray | None:
        """Return the distributions that logits become at a temperature, [m, c]; None for a kind without any."""
        ...

    def linear_model(self) -> Any:
        """Return a new scikit-learn estimator that predicts labels from features."""
        ...

    # --- losses ----------------------------------------------------------------------------------

    def label_loss(self, z_s: "Tensor", y: "Tensor") -> "Tensor":
        """Return the loss of student logits [B, C] against labels, float32, mean over B."""
        ...

    def logit_loss(self, z_s: "Tensor", z_t: "Tensor", temperature: Any, reduction: str) -> "Tensor":
        """Return the loss of student logits [B, C] against the teacher's, float32 (docs/method.md)."""
        ...
