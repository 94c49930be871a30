"""Reliability bins and the expected calibration error."""

import numpy as np
import pytest

from pipeline.data.calibration import Bin, calibration
from pipeline.data.task_kinds import MULTI_LABEL, REGRESSION, SINGLE_LABEL


def test_bins_and_error_of_single_label_worked_out_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.93, 0.07], [0.38, 0.62], [0.35, 0.65]])
    given = calibration(SINGLE_LABEL, np.log(probabilities), np.array([0, 1, 1, 1]))
    assert given.bins == (
        Bin(0.6, 0.7, 2, pytest.approx(0.635), 1.0),
        Bin(0.9, 1.0, 2, pytest.approx(0.94), 0.5),
    )
    assert given.error == pytest.approx((2 * (1 - 0.635) + 2 * (0.94 - 0.5)) / 4)


def test_each_class_of_a_multi_label_example_counts():
    logits = np.log([[9.0, 0.25], [9.0, 0.25]])  # probabilities 0.9 and 0.2
    given = calibration(MULTI_LABEL, logits, np.array([[1, 0], [0, 0]], np.int8))
    assert [(part.examples, part.accuracy) for part in given.bins] == [(2, 0.0), (2, 0.5)]
    assert given.error == pytest.approx((0.2 + 0.4) / 2)


def test_bins_cover_every_probability():
    given = calibration(MULTI_LABEL, np.array([[-800.0, 0.0, 800.0]]), np.array([[0, 1, 1]], np.int8))
    assert [(part.low, part.high) for part in given.bins] == [(0.0, 0.1), (0.4, 0.5), (0.9, 1.0)]


def test_scores_do_not_have_probabilities():
    assert calibration(REGRESSION, np.zeros((2, 1)), np.zeros(2)) is None
