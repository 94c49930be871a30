"""Single label: class weights against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.data.task_kinds import SINGLE_LABEL


def test_balanced_weights_are_n_over_c_times_the_rows_of_the_class():
    # 6 rows of 3 classes: 6 / (3 · 4), 6 / (3 · 2); class 2 does not have any rows
    assert SINGLE_LABEL.balanced(np.array([0, 0, 0, 0, 1, 1]), 3).weights == (0.5, 1.0, 2.0)


def test_weighted_loss_is_the_mean_over_the_batch_of_weight_times_cross_entropy():
    kind = SINGLE_LABEL.balanced(np.array([0, 0, 0, 1]), 2)  # 2/3 and 2
    z, y = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]]), torch.tensor([0, 1, 1])
    single = functional.cross_entropy(z, y, reduction="none")
    by_hand = (2 / 3 * single[0] + 2 * single[1] + 2 * single[2]) / 3
    assert kind.label_loss(z, y).item() == pytest.approx(by_hand.item())
    assert SINGLE_LABEL.label_loss(z, y).item() == pytest.approx(single.mean().item())


def test_weighted_loss_of_packed_students_is_that_of_each():
    kind = SINGLE_LABEL.balanced(np.array([0, 0, 0, 1]), 2)
    students, y = torch.randn(3, 4, 2, generator=torch.manual_seed(0)), torch.tensor([0, 1, 1, 0])
    packed = torch.func.vmap(lambda z: kind.label_loss(z, y))(students)
    assert packed.tolist() == pytest.approx([kind.label_loss(z, y).item() for z in students])
