"""Scores in the user's units."""

import numpy as np
import pytest
import torch

from pipeline.data.task_kinds import SCALED_REGRESSION

SCORES = np.array([1.7e9, 1.7e9 + 1, 1.7e9 + 5])  # in float32 they would all be the same


def test_scores_of_any_range_are_standardised_and_given_back():
    kind = SCALED_REGRESSION.fitted(SCORES)
    logits = kind.as_logits(SCORES, 1)
    assert logits.mean() == pytest.approx(0, abs=1e-6) and logits.std() == pytest.approx(1, rel=1e-6)
    assert kind.predictions(logits.astype(np.float32)) == pytest.approx(SCORES, abs=1e-3)
    assert kind.stored(logits) == pytest.approx(SCORES[:, None], abs=1e-3)


def test_loss_is_that_of_standardised_scores():
    kind = SCALED_REGRESSION.fitted(SCORES)
    z = torch.tensor([[0.5], [0.0], [1.0]])
    by_hand = ((z[:, 0].numpy() - kind.as_logits(SCORES, 1)[:, 0]) ** 2).mean()
    loss = kind.label_loss(z, torch.tensor(SCORES))
    assert loss.item() == pytest.approx(by_hand, rel=1e-5) and loss.dtype == torch.float32


@pytest.mark.parametrize("scores", [[3.0, 3.0, 3.0], [1e300, -1.7e308, 1.7e308], [1e15, 1e15 + 0.25]])
def test_scores_that_say_nothing_are_refused(scores):
    with pytest.raises(ValueError, match=r"nothing to learn|cannot be standardised"):
        SCALED_REGRESSION.fitted(np.array(scores))
