"""Multi-label: labels, threshold and losses against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from transformers import BertConfig

from pipeline.data.task_kinds import MULTI_LABEL
from pipeline.models.checkpoints import build_classifier, start_head
from tests.helpers.encoders import SIZES

LABELS = np.array([[1, 0], [0, 0], [1, 1], [1, 0]], np.int8)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_a_row_has_any_number_of_classes():
    rows = [MULTI_LABEL.parse_label(names, ("a", "b", "c"), by_number=True) for names in (("c", "a"), ())]
    assert [row.tolist() for row in rows] == [[1, 0, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match=r"^the label '1' is none of a, b$"):
        MULTI_LABEL.parse_label(("1",), ("a", "b"), by_number=True)


def test_stored_labels_are_0_and_1_or_minus_1_without_labels():
    MULTI_LABEL.check_labels(LABELS, 2, labelled=True)
    MULTI_LABEL.check_labels(np.full((3, 2), -1, np.int8), 2, labelled=False)
    for values, labelled in ((LABELS - 1, True), (LABELS + 1, True), (LABELS, False)):
        with pytest.raises(ValueError, match=r"^label holds"):
            MULTI_LABEL.check_labels(values, 2, labelled)


def test_threshold_is_that_of_the_best_micro_f1():
    p = np.array([[0.30, 0.10], [0.15, 0.02], [0.22, 0.21], [0.25, 0.05]])  # right from 0.21 on, wrong from 0.15 on
    kind = MULTI_LABEL.tuned(np.log(p / (1 - p)), LABELS)
    assert kind.label_threshold == pytest.approx((0.15 + 0.21) / 2)
    assert (kind.predictions(np.log(p / (1 - p))) == LABELS).all()
    assert MULTI_LABEL.tuned(np.log(p), LABELS * 0) is MULTI_LABEL  # without any label there is nothing to choose by


def test_balanced_weights_are_rows_without_over_rows_with_the_class():
    assert MULTI_LABEL.balanced(LABELS, 2).weights == (1 / 3, 3.0)
    assert MULTI_LABEL.balanced(LABELS * 0, 2).weights == MULTI_LABEL.balanced(LABELS * 0 + 1, 2).weights == (1.0, 1.0)


def test_label_loss_is_the_mean_binary_cross_entropy():
    z, y = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1, 0], [0, 1]], dtype=torch.int8)
    parts = [-math.log(sigmoid(0.5)), -math.log(1 - sigmoid(-1)), -math.log(1 - sigmoid(2)), -math.log(0.5)]
    assert MULTI_LABEL.label_loss(z, y).item() == pytest.approx(sum(parts) / 4, rel=1e-6)
    weighted = MULTI_LABEL.balanced(LABELS, 2).label_loss(z, y)  # 1/3 for class 0, 3 for class 1, where y is 1
    assert weighted.item() == pytest.approx((parts[0] / 3 + parts[1] + parts[2] + 3 * parts[3]) / 4, rel=1e-6)


def test_logit_loss_is_the_divergence_of_each_class():
    z_s, z_t, temperature = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 0.5]]), 2.0
    pairs = [(sigmoid(t / 2), sigmoid(s / 2)) for s, t in zip([1.0, -2.0], [3.0, 0.5], strict=True)]
    divergence = [p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)) for p, q in pairs]
    entropy = [-p * math.log(q) - (1 - p) * math.log(1 - q) for p, q in pairs]
    reference = MULTI_LABEL.logit_loss(z_s, z_t, temperature, "reference")
    assert reference.item() == pytest.approx(4 * sum(divergence) / 2, rel=1e-5)
    assert MULTI_LABEL.logit_loss(z_s, z_t, temperature, "paper").item() == pytest.approx(sum(entropy), rel=1e-5)
    assert MULTI_LABEL.logit_loss(z_t, z_t, temperature, "reference").item() == 0
    for reduction in ("reference", "paper"):
        loss = MULTI_LABEL.logit_loss(torch.tensor([[900.0, -900.0]]), torch.tensor([[-900.0, 900.0]]), 1.0, reduction)
        assert math.isfinite(loss.item())


def test_new_head_starts_from_the_odds_of_each_class():
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.int8)
    first = MULTI_LABEL.first_logits(labels)
    np.testing.assert_allclose(first, np.log([3.5 / 1.5, 1.5 / 3.5]))
    assert MULTI_LABEL.balanced(labels, 2).first_logits(labels) is None
    model = build_classifier(BertConfig(**SIZES, num_labels=2))
    start_head(model, first)
    np.testing.assert_allclose(model.classifier.bias.detach(), first, rtol=1e-6)
    start_head(model, -first)  # it is not new any more
    np.testing.assert_allclose(model.classifier.bias.detach(), first, rtol=1e-6)
