"""The table of kinds of task: everything that differs between them is asked of a `TaskKind`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.kinds.multi_label import MultiLabel
from pipeline.data.kinds.multiple_choice import MultipleChoice
from pipeline.data.kinds.regression import Regression, ScaledRegression
from pipeline.data.kinds.single_label import SingleLabel
from pipeline.data.kinds.task_kind import TaskKind as TaskKind
from pipeline.errors import BadOption

SINGLE_LABEL, REGRESSION, SCALED_REGRESSION, MULTI_LABEL = SingleLabel(), Regression(), ScaledRegression(), MultiLabel()
MULTIPLE_CHOICE = MultipleChoice()
TASK_KINDS: Mapping[str, TaskKind] = {
    kind.name: kind for kind in (SINGLE_LABEL, REGRESSION, SCALED_REGRESSION, MULTI_LABEL, MULTIPLE_CHOICE)
}


def implied_kind(labels: Sequence[str]) -> TaskKind:
    """Return the kind that is meant where only the labels are given, as in caches of format 2."""
    return SINGLE_LABEL if labels else REGRESSION


def kind_of_model(kind: TaskKind, config: Any) -> TaskKind:
    """Return the kind with the settings in a model's configuration, and its defaults for those that it lacks.

    Raises ValueError for settings that cannot be.
    """
    settings = {name: getattr(config, name, None) for name in kind.settings}
    return TASK_KINDS[kind.name].with_settings({name: value for name, value in settings.items() if value is not None})


def check_class_weights(kind: TaskKind, class_weights: str) -> None:
    """Raise `BadOption` for --class-weights on a kind without classes."""
    if class_weights != "none" and not kind.has_classes:
        raise BadOption(
            f"--class-weights {class_weights} weighs classes, and a {kind.title} task does not have any. Leave it out"
        )


def weighted(kind: TaskKind, class_weights: str, labels: np.ndarray, num_logits: int) -> TaskKind:
    """Return the kind with the weights of --class-weights, from the labels of the training split."""
    check_class_weights(kind, class_weights)
    return kind if class_weights == "none" else kind.balanced(labels, num_logits)
