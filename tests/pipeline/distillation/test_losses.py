"""Losses and gradients against numbers worked out by hand, in plain Python, from the formulas of the paper."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import vmap

from pipeline.config.methods import METHODS
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.distillation.labelled_examples import LabelledExamples
from pipeline.distillation.losses import patience_by_layer, patience_loss
from pipeline.distillation.objective import Objective

REDUCTIONS = ("reference", "batchmean", "paper")


def softmax(row, temperature=1.0):
    exponents = [math.exp(z / temperature) for z in row]
    return [e / sum(exponents) for e in exponents]


def example(classes):
    """Two rows of student and teacher logits."""
    return [[0.3, -1.2, 0.9][:classes], [1.5, 0.1, -0.4][:classes]], [
        [1.0, 0.2, -0.7][:classes],
        [-0.6, 0.8, 2.0][:classes],
    ]


def test_numbers_written_down_once():
    """T = 1, one row, two classes: q = (0.5, 0.5), p = (0.75, 0.25); KL = 0.75 ln 1.5 + 0.25 ln 0.5 = 0.130812."""
    z_s, z_t = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    assert SINGLE_LABEL.logit_loss(z_s, z_t, 1.0, "reference").item() == pytest.approx(0.130812 / 2, abs=1e-6)
    assert SINGLE_LABEL.logit_loss(z_s, z_t, 1.0, "paper").item() == pytest.approx(math.log(2), abs=1e-6)
    # h_s = (3, 4) / 5, h_t = (1, 0): squared distance (−0.4)² + 0.8² = 0.8
    h_s, h_t = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[2.0, 0.0]]])
    assert patience_by_layer(h_s, h_t, "paper").tolist() == pytest.approx([0.8])
    assert patience_by_layer(h_s, h_t, "reference").tolist() == pytest.approx([0.4])


@pytest.mark.parametrize("classes", [2, 3])
def test_label_loss_and_gradient(classes):
    rows, _ = example(classes)
    z_s, y = torch.tensor(rows, requires_grad=True), [1, 0]
    loss = SINGLE_LABEL.label_loss(z_s, torch.tensor(y))
    loss.backward()
    q = [softmax(row) for row in rows]
    assert loss.item() == pytest.approx(-(math.log(q[0][1]) + math.log(q[1][0])) / 2, rel=1e-6)
    expected = [[(q[b][c] - (c == y[b])) / 2 for c in range(classes)] for b in range(2)]
    assert torch.allclose(z_s.grad, torch.tensor(expected), atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_logit_loss_and_gradient(classes, temperature, reduction):
    student, teacher = example(classes)
    z_s = torch.tensor(student, requires_grad=True)
    loss = SINGLE_LABEL.logit_loss(z_s, torch.tensor(teacher), temperature, reduction)
    loss.backward()
    value, gradient = 0.0, []
    for row_s, row_t in zip(student, teacher, strict=True):
        q, p = softmax(row_s, temperature), softmax(row_t, temperature)
        if reduction != "paper":
            count = 2 * classes if reduction == "reference" else 2
            value += temperature**2 * sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True)) / count
            gradient.append([temperature * (b - a) / count for a, b in zip(p, q, strict=True)])
        else:
            value -= sum(a * math.log(b) for a, b in zip(p, q, strict=True)) / 2
            gradient.append([(b - a) / (2 * temperature) for a, b in zip(p, q, strict=True)])
    assert loss.item() == pytest.approx(value, rel=1e-4, abs=1e-6)
    assert torch.allclose(z_s.grad, torch.tensor(gradient), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_regression_is_squared_error_and_temperature_means_nothing(reduction):
    z_s = torch.tensor([[1.0], [3.0]], requires_grad=True)
    assert REGRESSION.label_loss(z_s, torch.tensor([2.0, 5.0])).item() == pytest.approx((1 + 4) / 2)
    losses = [REGRESSION.logit_loss(z_s, torch.tensor([[0.0], [6.0]]), t, reduction).item() for t in (1.0, 20.0)]
    assert losses == pytest.approx([(1 + 9) / 2] * 2)
    REGRESSION.logit_loss(z_s, torch.tensor([[0.0], [6.0]]), 5.0, reduction).backward()
    assert z_s.grad.tolist() == [[1.0], [-3.0]]


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_patience_and_gradient(layers, reduction):
    batch, hidden = 2, 3
    draw = torch.Generator().manual_seed(layers)
    h_s = torch.randn(batch, layers, hidden, generator=draw)
    h_t = torch.randn(batch, layers, hidden, generator=draw)
    scale = 1 / batch if reduction == "paper" else 1 / (batch * layers * hidden)
    value, gradient = 0.0, torch.zeros_like(h_s)
    for b in range(batch):
        for k in range(layers):
            s, t = h_s[b, k].tolist(), h_t[b, k].tolist()
            norm_s, norm_t = math.hypot(*s), math.hypot(*t)
            u, v = [x / norm_s for x in s], [x / norm_t for x in t]
            value += scale * sum((a - c) ** 2 for a, c in zip(u, v, strict=True))
            cosine = sum(a * c for a, c in zip(u, v, strict=True))
            for i in range(hidden):  # d/ds of −2 u·v: the normalisation leaves the part of v across u
                gradient[b, k, i] = -2 * scale * (v[i] - cosine * u[i]) / norm_s
    h_s.requires_grad_()
    loss = patience_loss(patience_by_layer(h_s, h_t, reduction), reduction)
    loss.backward()
    assert loss.item() == pytest.approx(value, rel=1e-5)
    assert torch.allclose(h_s.grad, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_the_reductions_differ_by_the_stated_constants(layers):
    h_s, h_t = torch.randn(4, layers, 6), torch.randn(4, layers, 6)
    by_layer = {r: patience_by_layer(h_s, h_t, r) for r in REDUCTIONS}
    reference, batchmean, paper = (patience_loss(by_layer[r], r).item() for r in REDUCTIONS)
    assert paper == pytest.approx(layers * 6 * reference, rel=1e-5) and batchmean == reference
    z_s, z_t = torch.randn(4, 7), torch.randn(4, 7)
    for kind in (SINGLE_LABEL, MULTI_LABEL):
        reference, batchmean = (kind.logit_loss(z_s, z_t, 3.0, r).item() for r in ("reference", "batchmean"))
        assert batchmean == pytest.approx(7 * reference, rel=1e-5)


C = 3
KINDS = {
    "single-label": SINGLE_LABEL,
    "weighted": replace(SINGLE_LABEL, weights=(0.5, 1.0, 3.0)),
    "multi-label": replace(MULTI_LABEL, weights=(0.5, 1.0, 3.0), label_threshold=0.4),
    "multiple-choice": MULTIPLE_CHOICE,
    "regression": REGRESSION,
    "scaled-regression": replace(SCALED_REGRESSION, label_mean=-7.0, label_std=2.0),
}
HAS_LABEL = np.array([False, True, True, False, True, False, False])


def half_labelled(kind):
    """Logits of student and teacher, and labels of which three are there."""
    width = 1 if kind.name.endswith("regression") else C
    z_s, z_t = torch.randn(7, width), torch.randn(7, width)
    y = torch.from_numpy(kind.without_labels(7, C))
    draw = torch.rand(3) if width == 1 else torch.randint(0, 2, y[:3].shape)
    y[torch.from_numpy(HAS_LABEL)] = draw.to(y.dtype)
    assert (np.asarray(kind.has_label(y.numpy())) == HAS_LABEL).all()
    return z_s.requires_grad_(), z_t, y


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_label_term_is_the_mean_over_the_labelled_examples_of_a_step(kind):
    """Whole, in parts of which one has no label, and of several students at once."""
    z_s, z_t, y = half_labelled(kind)
    objective = Objective(kind, ("label", "logit"), (), "reference", (("alpha", 0.25), ("temperature", 2.0)))
    chosen = torch.from_numpy(HAS_LABEL)
    ce = kind.label_loss(z_s[chosen], y[chosen])
    expected = 0.75 * ce + 0.25 * kind.logit_loss(z_s, z_t, 2.0, "reference")
    (gradient,) = torch.autograd.grad(expected, z_s)

    def values(places, z):
        weight = len(places) / 7
        labelled = LabelledExamples.of_batch(HAS_LABEL[places], 3, weight, z.device)
        return weight * objective(z[places], y[places], None, {"logits": z_t[places]}, labelled=labelled)

    for parts in ([[*range(7)]], [[0, 3], [1, 2, 4], [5], [6]], [[0, 1, 2, 3], [4, 5, 6]]):
        total = torch.stack([values(places, z_s) for places in parts]).sum(0)
        assert total.tolist()[:2] == pytest.approx([expected.item(), ce.item()], rel=1e-5)
        assert torch.allclose(torch.autograd.grad(total[0], z_s)[0], gradient, atol=1e-6)
    packed = vmap(lambda z: values([*range(7)], z))(torch.stack([z_s, z_s + 1]))
    assert torch.allclose(packed[0], values([*range(7)], z_s)) and packed.isfinite().all()
    nothing = LabelledExamples.of_batch(HAS_LABEL[:1], 0, 1.0, z_s.device)
    alone = objective(z_s[:1], y[:1], None, {"logits": z_t[:1]}, labelled=nothing)
    assert alone[1].item() == 0 and alone.isfinite().all()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_pseudo_labels_are_the_labels_of_the_rows_and_the_teachers_predictions(kind):
    z_s, z_t, y = half_labelled(kind)
    objective = Objective(kind, METHODS["pseudo"].terms)
    hard = torch.from_numpy(kind.predictions(z_t.numpy())).to(y.dtype)
    hard[HAS_LABEL] = y[HAS_LABEL]
    assert objective.columns == ("logits",) and not objective.needs_labels
    values = objective(z_s, y, None, {"logits": z_t})
    assert values.tolist() == pytest.approx([kind.label_loss(z_s, hard).item()] * 2)
    packed = vmap(lambda z: objective(z, y, None, {"logits": z_t}))(torch.stack([z_s, z_s + 1]))
    assert torch.allclose(packed[0], values)


def test_patience_of_questions_is_the_mean_over_their_sequences():
    """Two questions of three sequences, H = 2: a row of a cached column holds the vectors of its sequences."""
    h_s, h_t = torch.randn(6, 1, 2), torch.randn(2, 3 * 2)
    numbers = (("alpha", 0.0), ("temperature", 1.0), ("beta", 1.0))
    logits, y = torch.randn(2, 3), torch.tensor([2, 0])
    terms = METHODS["pkd-skip"].terms
    for reduction in REDUCTIONS:
        objective = Objective(MULTIPLE_CHOICE, terms, (1,), reduction, numbers)
        values = objective(logits, y, h_s, {"logits": logits, "cls_01": h_t})
        by_sequence = []
        for row in range(6):
            u, v = h_s[row, 0].tolist(), h_t[row // 3, 2 * (row % 3) :][:2].tolist()
            u, v = ([x / math.hypot(*vector) for x in vector] for vector in (u, v))
            by_sequence.append(sum((a - b) ** 2 for a, b in zip(u, v, strict=True)))
        mean = sum(by_sequence) / 6 / (1 if reduction == "paper" else 2)
        assert dict(zip(objective.names, values.tolist(), strict=True))["pt"] == pytest.approx(mean, rel=1e-5)


def test_losses_are_float32_whatever_the_model_computes_in():
    half = torch.randn(3, 2).bfloat16()
    assert SINGLE_LABEL.label_loss(half, torch.tensor([0, 1, 1])).dtype == torch.float32
    assert SINGLE_LABEL.logit_loss(half, half, 5.0, "paper").dtype == torch.float32
    assert patience_by_layer(half[:, None], half[:, None], "paper").dtype == torch.float32


def test_a_student_without_matched_layers_is_refused():
    with pytest.raises(ValueError, match="there is no matched layer"):
        patience_by_layer(torch.zeros(2, 0, 3), torch.zeros(2, 0, 3), "reference")


def test_widths_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        patience_by_layer(torch.zeros(2, 1, 3), torch.zeros(2, 1, 4), "reference")
