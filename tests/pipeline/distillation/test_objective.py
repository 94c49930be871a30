"""The weighted sum of the loss terms, and what is logged of it."""

import pytest
import torch

from pipeline.config.methods import METHODS
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.distillation.losses import patience_by_layer
from pipeline.distillation.objective import Objective, as_record


def test_terms_and_their_weights():
    z_s, z_t, y = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0, 1, 1])
    h_s, h_t = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    numbers = (("alpha", 0.7), ("temperature", 5.0), ("beta", 100.0))
    objective = Objective(SINGLE_LABEL, METHODS["pkd-skip"].terms, (2, 4), "reference", numbers)
    assert objective.columns == ("logits", "cls_02", "cls_04")
    targets = {"logits": z_t, "cls_02": h_t[:, 0], "cls_04": h_t[:, 1]}
    values = dict(zip(objective.names, objective(z_s, y, h_s, targets).tolist(), strict=True))
    assert values["ce"] == pytest.approx(SINGLE_LABEL.label_loss(z_s, y).item())
    assert values["kd"] == pytest.approx(SINGLE_LABEL.logit_loss(z_s, z_t, 5.0, "reference").item())
    by_layer = patience_by_layer(h_s, h_t, "reference").tolist()
    assert [values["pt_by_layer.2"], values["pt_by_layer.4"]] == pytest.approx(by_layer)
    assert values["pt"] == pytest.approx(sum(by_layer) / 2)
    assert values["loss"] == pytest.approx(0.3 * values["ce"] + 0.7 * values["kd"] + 100 * values["pt"], rel=1e-5)
    labels_alone = Objective(SINGLE_LABEL)
    assert labels_alone.names == ("loss", "ce") and labels_alone.columns == ()
    assert labels_alone(z_s, y, None, {}).tolist() == pytest.approx([values["ce"]] * 2)


def test_labels_are_needed_unless_they_have_no_weight():
    for method in METHODS.values():
        for alpha, needed in ((0.5, True), (1.0, False)):
            numbers = (("alpha", alpha), ("temperature", 1.0), ("beta", 1.0)) if method.name != "ft" else ()
            objective = Objective(SINGLE_LABEL, method.terms, numbers=numbers)
            assert objective.needs_labels is {"ft": True, "pseudo": False}.get(method.name, needed)


def test_values_of_layers_are_logged_as_one_object():
    values = {"loss": 3.0, "pt": 1.0, "pt_by_layer.2": 0.5, "pt_by_layer.4": 1.5}
    assert as_record(values) == {"loss": 3.0, "pt": 1.0, "pt_by_layer": {"2": 0.5, "4": 1.5}}
