"""Targets that say nothing are named."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config.methods import METHODS
from pipeline.data.splits import Split
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SINGLE_LABEL
from pipeline.data.training_set import draw_training_set
from pipeline.distillation.objective import objective_of
from pipeline.distillation.unsure_teacher import SAMPLE, unsure_teacher

ROWS = 2 * SAMPLE + 5


def examples(kind, logits):
    labels = np.zeros(len(logits), np.int64)
    return draw_training_set(Split("train", [{"label": labels, "logits": logits.astype(np.float32)}], True), kind, 0)


def of_intents(largest):
    """Logits of 77 classes: a class with this probability in the mean, and a spread among the others."""
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 1.0, (ROWS, 77))
    rest = np.exp(logits[:, 1:]).sum(1)
    logits[:, 0] = np.log(largest / (1 - largest) * rest)
    return logits


def remark(kind, logits, temperature, method="kd"):
    numbers = {"alpha": 0.5, "temperature": temperature, "beta": 1.0}
    objective = objective_of(METHODS[method], kind, (), "reference", numbers)
    return unsure_teacher(objective, examples(kind, logits))


def test_teacher_of_many_classes_that_was_stopped_early():
    line = remark(SINGLE_LABEL, of_intents(0.20), 5.0)
    assert line == (
        "the teacher is unsure: at --temperature 5 the entropy of its targets is 99.5% of that of chance, and their "
        "largest probability is 0.025 in the mean, where 0.013 is chance. Try a lower --temperature"
    )
    assert remark(SINGLE_LABEL, of_intents(0.20), 1.0) is None
    assert remark(SINGLE_LABEL, of_intents(0.95), 5.0) is None
    assert remark(SINGLE_LABEL, of_intents(0.20), 5.0, "pkd-skip") == line
    assert [remark(SINGLE_LABEL, of_intents(0.20), 5.0, method) for method in ("ft", "pseudo")] == [None, None]


@pytest.mark.parametrize("temperature", [5.0, 10.0, 20.0])
def test_sure_teacher_of_two_classes_is_not_named_in_the_grid_of_the_paper(temperature):
    logits = np.random.default_rng(0).choice([-3.5, 3.5], (ROWS, 1)) * [[1, -1]]
    assert remark(SINGLE_LABEL, logits, temperature) is None


@pytest.mark.parametrize("kind", [SINGLE_LABEL, MULTI_LABEL, MULTIPLE_CHOICE], ids=lambda kind: kind.name)
def test_teacher_that_knows_nothing_is_named_at_every_temperature(kind):
    line = remark(kind, np.zeros((7, 3)), 1.0)
    assert "is 100.0% of that of chance" in line and line.endswith(". Train the teacher for longer")


def test_scores_are_not_softened():
    assert remark(REGRESSION, np.zeros((7, 1)), 5.0) is None
    assert remark(replace(SINGLE_LABEL), np.array([[9.0, -9.0]]), 1.0) is None
