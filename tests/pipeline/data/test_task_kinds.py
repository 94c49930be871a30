"""Kinds of task: what each says of labels, predictions and weak teachers."""

import numpy as np
import pytest

from pipeline.data.metrics import METRICS
from pipeline.data.task_kinds import REGRESSION, SINGLE_LABEL, TASK_KINDS, implied_kind


@pytest.mark.parametrize("kind", TASK_KINDS.values(), ids=list(TASK_KINDS))
def test_predictions_come_back_from_their_logits(kind):
    predictions = np.array([1, 0, 1]).astype(kind.label_dtype)
    num_logits = 2 if kind.has_classes else 1
    logits = kind.as_logits(predictions, num_logits)
    assert logits.shape == (3, num_logits) and (kind.predictions(logits) == predictions).all()
    assert set(kind.metrics(num_logits)) <= set(METRICS) and kind.agreement_metric in METRICS


def test_labels_imply_the_kind_of_caches_of_format_2():
    assert implied_kind(("neg", "pos")) is SINGLE_LABEL and implied_kind(()) is REGRESSION


def test_class_is_parsed_by_name_and_by_number_only_where_allowed():
    assert SINGLE_LABEL.parse_label("pos", ("neg", "pos"), by_number=False) == 1
    assert SINGLE_LABEL.parse_label("1", ("neg", "pos"), by_number=True) == 1
    with pytest.raises(ValueError, match=r"^the label '1' is none of neg, pos$"):
        SINGLE_LABEL.parse_label("1", ("neg", "pos"), by_number=False)


@pytest.mark.parametrize("text", ["", "nan", "1e400", "good", "1,5"])
def test_score_that_is_not_a_finite_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a number"):
        REGRESSION.parse_label(text, (), by_number=False)


def test_stored_labels_outside_the_classes_are_refused():
    SINGLE_LABEL.check_labels(np.array([-1, 1]), 2, labelled=False)
    for labels, labelled in (([-1, 1], True), ([0, 2], True)):
        with pytest.raises(ValueError, match=r"^label holds"):
            SINGLE_LABEL.check_labels(np.array(labels), 2, labelled)
    with pytest.raises(ValueError, match="not finite"):
        REGRESSION.check_labels(np.array([0.0, np.inf]), 1, True)


def test_head_has_one_logit_per_class_and_one_for_a_score():
    assert SINGLE_LABEL.num_logits(("a", "b", "c")) == 3 and REGRESSION.num_logits(()) == 1
    for kind, labels in ((SINGLE_LABEL, ("a",)), (SINGLE_LABEL, ("a", "a")), (REGRESSION, ("a", "b"))):
        with pytest.raises(ValueError, match="labels"):
            kind.num_logits(labels)


def test_constant_and_doubtful_teachers():
    assert SINGLE_LABEL.constant_prediction(np.array([2, 0, 2]), 3) == 2
    assert REGRESSION.constant_prediction(np.array([0.5, 1.0]), 1) is None
    assert REGRESSION.doubt({"pearson": -0.1, "spearman": 0.2}) and not REGRESSION.doubt({"pearson": 0.1})
