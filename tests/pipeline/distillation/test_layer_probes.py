import numpy as np
import pytest

from pipeline.data.task_kinds import REGRESSION, SINGLE_LABEL
from pipeline.distillation.layer_probes import normalised, probe, probe_rows, variation


def test_variation_by_hand():
    """Two unit vectors at a right angle have a mean of length √½; four that cancel have none."""
    assert variation([np.array([[3.0, 0.0], [0.0, 0.5]])]) == pytest.approx(0.5)
    assert variation([np.array([[2.0, 0], [-1, 0], [0, 7], [0, -3]])]) == pytest.approx(1.0)
    assert variation([np.ones((5, 8)), 9 * np.ones((3, 8))]) == pytest.approx(0.0, abs=1e-12)


def test_variation_is_the_mean_squared_distance_to_the_mean_in_any_chunks():
    vectors = (np.random.default_rng(0).normal(size=(1000, 16)) + 3).astype(np.float16)
    unit = normalised(vectors)
    expected = ((unit - unit.mean(axis=0)) ** 2).sum(axis=1).mean()
    for size in (1, 7, 1000):
        assert variation(vectors[start : start + size] for start in range(0, 1000, size)) == pytest.approx(expected)


def test_vectors_that_hardly_vary_are_not_lost_in_rounding():
    vectors = np.ones((4000, 768), np.float16)
    vectors[::2, 0] += np.float16(0.001)
    unit = normalised(vectors)
    expected = ((unit - unit.mean(axis=0)) ** 2).sum(axis=1).mean()
    assert expected < 1e-8
    assert variation([vectors]) == pytest.approx(expected, rel=1e-4)


def test_the_zero_vector_stays():
    assert normalised(np.zeros((1, 4))).tolist() == [[0, 0, 0, 0]]
    assert variation([np.array([[0.0, 0.0], [1.0, 0.0]])]) == pytest.approx(0.25)  # ĥ 0 and 1, each ½ from the mean


def test_values_that_are_not_finite_and_no_rows():
    with pytest.raises(ValueError, match=r"^values that are not finite$"):
        variation([np.array([[np.nan, 1.0]])])
    with pytest.raises(ValueError, match=r"^no rows$"):
        variation([])


def test_rows_are_drawn_with_a_fixed_seed():
    assert probe_rows(100, 5).tolist() == probe_rows(100, 5).tolist()
    assert set(probe_rows(100, 5)) < set(probe_rows(100, 50))
    assert probe_rows(10, 50).tolist() == list(range(10))
    assert probe_rows(1000, 20).max() > 100  # not simply the first rows


def test_a_probe_of_classes_finds_a_direction_and_not_a_length():
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 3, 300)
    vectors = draw.normal(size=(300, 12)) * 0.1 + np.eye(12)[labels]
    vectors *= draw.uniform(0.1, 50, size=(300, 1))
    outputs = probe(SINGLE_LABEL, vectors[:200], labels[:200], vectors[200:], 3)
    assert outputs.shape == (100, 3)
    assert (outputs.argmax(1) == labels[200:]).all()
    lengths = np.ones((300, 12)) * (1 + labels[:, None])
    assert (probe(SINGLE_LABEL, lengths[:200], labels[:200], lengths[200:], 3).argmax(1) == labels[200:]).mean() < 0.6


def test_a_probe_sees_what_hardly_varies():
    """As in the lower layers of an encoder: one common direction, and a thousandth of it that tells."""
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 2, 300)
    vectors = np.ones((300, 12)) + draw.normal(size=(300, 12)) * 1e-4
    vectors[:, 4] += 1e-3 * labels
    assert (probe(SINGLE_LABEL, vectors[:200], labels[:200], vectors[200:], 2).argmax(1) == labels[200:]).all()


def test_a_probe_of_one_class_only_says_that_class():
    outputs = probe(SINGLE_LABEL, np.eye(4), np.array([2, 2, 2, 2]), np.eye(4)[:3], 3)
    assert outputs.tolist() == SINGLE_LABEL.as_logits(np.array([2, 2, 2]), 3).tolist()


def test_a_probe_of_scores():
    draw = np.random.default_rng(2)
    vectors = draw.normal(size=(400, 8))
    scores = (normalised(vectors)[:, 3] * 5).astype(np.float32)
    outputs = probe(REGRESSION, vectors[:300], scores[:300], vectors[300:], 1)
    assert outputs.shape == (100, 1)
    assert np.corrcoef(outputs[:, 0], scores[300:])[0, 1] > 0.999
