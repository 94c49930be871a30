"""Kinds of task: what each says of labels, predictions and constants."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.data.metrics import METRICS
from pipeline.data.task_kinds import (
    MULTI_LABEL,
    MULTIPLE_CHOICE,
    REGRESSION,
    SCALED_REGRESSION,
    SINGLE_LABEL,
    TASK_KINDS,
    implied_kind,
    kind_of_model,
    weighted,
)
from pipeline.errors import BadOption

every_kind = pytest.mark.parametrize("kind", TASK_KINDS.values(), ids=list(TASK_KINDS))


@every_kind
def test_predictions_come_back_from_their_logits_and_from_what_is_stored(kind):
    num_logits = 1 if kind.agreement_metric == "pearson" else 2
    width = kind.label_width(num_logits)
    predictions = np.array([[1, 0], [0, 0], [1, 1]] if width else [1, 0, 1]).astype(kind.label_dtype)
    logits = kind.as_logits(predictions, num_logits)
    assert logits.shape == (3, num_logits) and (kind.predictions(logits) == predictions).all()
    assert (kind.from_stored(kind.stored(logits)) == logits).all()
    assert set(kind.metrics(num_logits)) <= set(METRICS) and kind.agreement_metric in METRICS
    assert set(kind.guess_proof_metrics) <= set(kind.metrics(num_logits))


@every_kind
def test_settings_are_read_from_a_models_configuration_and_kept_to_their_range(kind):
    settings = dict.fromkeys(kind.settings, 0.25)
    assert kind_of_model(kind, SimpleNamespace(**settings, threshold=9)).settings == settings
    assert kind_of_model(kind.with_settings(settings), SimpleNamespace()).settings == kind.settings
    for wrong in (float("nan"), -1, True, "0.5", [0.5]):
        for name in set(settings) - {"label_mean"}:
            with pytest.raises(ValueError, match=name.replace("label_std", "deviation|label_std")):
                kind.with_settings({name: wrong})
    with pytest.raises(ValueError, match="temperature"):
        kind.with_settings({"temperature": 1.0})


def test_labels_imply_the_kind_of_caches_of_format_2():
    assert implied_kind(("neg", "pos")) is SINGLE_LABEL and implied_kind(()) is REGRESSION


@every_kind
def test_a_teacher_is_of_the_kind_that_its_configuration_names(kind):
    for other in TASK_KINDS.values():
        named = kind is MULTIPLE_CHOICE or kind.problem_type == other.problem_type
        assert kind.accepts(other.problem_type) is named
    assert kind.accepts(None)


def test_class_is_parsed_by_name_and_by_number_only_where_allowed():
    assert SINGLE_LABEL.parse_label("pos", ("neg", "pos"), by_number=False) == 1
    assert SINGLE_LABEL.parse_label("1", ("neg", "pos"), by_number=True) == 1
    with pytest.raises(ValueError, match=r"^the label '1' is none of neg, pos$"):
        SINGLE_LABEL.parse_label("1", ("neg", "pos"), by_number=False)


@pytest.mark.parametrize("text", ["", "nan", "1e400", "good", "1,5"])
@pytest.mark.parametrize("kind", [REGRESSION, SCALED_REGRESSION])
def test_score_that_is_not_a_finite_number_is_refused(kind, text):
    with pytest.raises(ValueError, match="is not a number"):
        kind.parse_label(text, (), by_number=False)


def test_stored_labels_outside_the_classes_are_refused():
    SINGLE_LABEL.check_labels(np.array([-1, 1]), 2, labelled=False)
    for labels, labelled in (([-1, 1], True), ([0, 2], True)):
        with pytest.raises(ValueError, match=r"^label holds"):
            SINGLE_LABEL.check_labels(np.array(labels), 2, labelled)
    for kind in (REGRESSION, SCALED_REGRESSION):
        with pytest.raises(ValueError, match="not finite"):
            kind.check_labels(np.array([0.0, np.inf]), 1, True)


def test_head_has_one_logit_per_class_and_one_for_a_score():
    assert SINGLE_LABEL.num_logits(("a", "b", "c")) == 3 and REGRESSION.num_logits(()) == 1
    wrong = ((SINGLE_LABEL, ("a",)), (MULTI_LABEL, ("a",)), (SINGLE_LABEL, ("a", "a")), (REGRESSION, ("a", "b")))
    for kind, labels in wrong:
        with pytest.raises(ValueError, match="labels"):
            kind.num_logits(labels)


def test_choices_are_called_by_letters_and_each_is_a_sequence():
    assert MULTIPLE_CHOICE.num_logits(("A", "B", "C")) == 3 and MULTIPLE_CHOICE.sequences(3) == 3
    assert all(kind.sequences(3) == 1 for kind in TASK_KINDS.values() if kind is not MULTIPLE_CHOICE)
    for labels in ((), ("A",), ("B", "A"), ("a", "b"), tuple(map(str, range(27)))):
        with pytest.raises(ValueError, match="labels that are not the letters of choices"):
            MULTIPLE_CHOICE.num_logits(labels)


def test_constant_and_doubtful_teachers():
    assert SINGLE_LABEL.constants(np.array([2, 0, 2]), 3) == [2, 0, 1]
    assert REGRESSION.constants(np.array([0.5, 1.0]), 1) == []
    assert REGRESSION.doubt({"pearson": -0.1, "spearman": 0.2}) and not REGRESSION.doubt({"pearson": 0.1})


def test_class_weights_need_classes():
    labels = np.array([0, 1, 1, 1])
    assert weighted(SINGLE_LABEL, "none", labels, 2) is SINGLE_LABEL
    assert weighted(SINGLE_LABEL, "balanced", labels, 2).weights == (2.0, 2 / 3)
    with pytest.raises(BadOption) as error:
        weighted(SCALED_REGRESSION, "balanced", labels, 1)
    assert str(error.value) == (
        "--class-weights balanced weighs classes, and a regression task does not have any. Leave it out"
    )


def test_labels_left_out_are_recognised_in_arrays_and_tensors_of_every_kind() -> None:
    for kind, classes, row in ((SINGLE_LABEL, 3, 2), (MULTI_LABEL, 3, [1, 0, 1]), (REGRESSION, 1, -1.0)):
        missing = kind.without_labels(1, classes)
        kind_labels = np.concatenate([missing, np.array([row], kind.label_dtype)])
        assert kind.has_label(kind_labels).tolist() == [False, True]
        assert kind.has_label(torch.from_numpy(kind_labels)).tolist() == [False, True]


def test_divergence_is_0_of_the_same_logits_and_as_worked_out_by_hand():
    first, second = np.log([[0.5, 0.5], [0.5, 0.5]]), np.log([[0.9, 0.1], [0.5, 0.5]])
    by_hand = (0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)) / 2
    assert SINGLE_LABEL.divergence(second, second, SINGLE_LABEL) == 0
    assert SINGLE_LABEL.divergence(first, second, SINGLE_LABEL) == pytest.approx(by_hand)
    odds = np.log([[9.0, 1.0], [1.0, 1.0]])  # probabilities 0.9 and 0.5
    assert MULTI_LABEL.divergence(np.zeros((2, 2)), odds, MULTI_LABEL) == pytest.approx(by_hand)
    teacher = SCALED_REGRESSION.with_settings({"label_mean": 10.0, "label_std": 2.0})
    assert SCALED_REGRESSION.divergence(np.array([[11.0]]), np.array([[2.0]]), teacher) == pytest.approx(9)


def test_contradiction_is_0_where_predictions_agree_and_grows_with_the_distance():
    sure, unsure, other = [[9.0, -9.0]], [[0.2, 0.0]], [[0.0, 1.0]]

    def of(kind, student, teacher):
        return kind.contradiction(np.array(student), np.array(teacher), kind).tolist()

    for kind in (SINGLE_LABEL, MULTIPLE_CHOICE):
        assert of(kind, sure, unsure) == [0.0] and of(kind, sure, other) > of(kind, unsure, other) > [0.5]
    assert of(MULTI_LABEL, [[2.0, 2.0]], [[0.1, 3.0]]) == [0.0]
    assert of(MULTI_LABEL, [[2.0, 2.0]], [[-2.0, 1.0]]) == pytest.approx([0.7616], abs=1e-4)
    assert of(REGRESSION, [[1.5], [2.0]], [[1.0], [2.0]]) == [0.5, 0.0]
    scaled = SCALED_REGRESSION.with_settings({"label_mean": 100.0, "label_std": 10.0})
    assert of(scaled, [[1.5]], [[1.0]]) == [5.0]
