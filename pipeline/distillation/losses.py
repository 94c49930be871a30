"""The three terms of patient knowledge distillation (Sun et al. 2019, equations 2 to 8), as plain functions.

Shapes: student and teacher logits z_s, z_t [B, C]; labels y [B]; [CLS] vectors h_s, h_t [B, K, H] of the matched
layers. C = 1 is regression. Everything is computed in float32. `reduction` is "reference" (the authors' code) or
"paper" (the equations); their gradients differ by constants: PT by K·H, KD by C / T².
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def label_loss(z_s: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy with the labels; squared error for regression. Mean over B."""
    if z_s.shape[-1] == 1:
        return functional.mse_loss(z_s.float().squeeze(-1), y.float())
    return functional.cross_entropy(z_s.float(), y)


def logit_loss(z_s: Tensor, z_t: Tensor, temperature: float, reduction: str) -> Tensor:
    """KD: how far the student's softened distribution is from the teacher's; squared error for regression.

    reference: T² · mean over B and C of p_t (log p_t − log q). paper: mean over B of −Σ_c p_t log q.
    """
    z_s, z_t = z_s.float(), z_t.float()
    if z_s.shape[-1] == 1:
        return functional.mse_loss(z_s, z_t)
    log_q = functional.log_softmax(z_s / temperature, dim=-1)
    log_p = functional.log_softmax(z_t / temperature, dim=-1)
    if reduction == "paper":
        return -(log_p.exp() * log_q).sum(-1).mean()
    return temperature**2 * (log_p.exp() * (log_p - log_q)).mean()


def patience_by_layer(h_s: Tensor, h_t: Tensor, reduction: str) -> Tensor:
    """[K]: squared distance of the normalised [CLS] vectors at each matched layer.

    reference: mean over B and H; paper: sum over H, mean over B. Raises ValueError for K = 0.
    """
    if h_s.shape != h_t.shape:
        raise ValueError(f"student [CLS] {tuple(h_s.shape)} and teacher [CLS] {tuple(h_t.shape)} differ in shape")
    if h_s.shape[-2] == 0:
        raise ValueError("no matched layer: a student of one layer has no patience loss")
    distance = functional.normalize(h_s.float(), dim=-1) - functional.normalize(h_t.float(), dim=-1)
    squared = distance.square()
    per_layer = squared.sum(-1) if reduction == "paper" else squared.mean(-1)
    return per_layer.mean(0)


def patience_loss(by_layer: Tensor, reduction: str) -> Tensor:
    """PT from its parts: their mean (reference) or sum (paper)."""
    return by_layer.sum() if reduction == "paper" else by_layer.mean()


@dataclass(frozen=True)
class Objective:
    """What one model is trained for: (1 − alpha) · CE + alpha · KD + beta · PT over `layers` matched layers."""

    alpha: float = 0.0
    beta: float = 0.0
    temperature: float = 1.0
    reduction: str = "reference"
    layers: tuple[int, ...] = ()  # teacher layers matched by student layers 1..K

    def __call__(self, z_s: Tensor, y: Tensor, h_s: Tensor | None, targets: "Targets | None") -> Tensor:
        """[4 + K]: loss, CE, KD, PT, then PT of each matched layer; a term without weight counts as 0.

        Shapes as above; float32; differentiable in its first entry.
        """
        zero = z_s.new_zeros((), dtype=torch.float32)
        ce = label_loss(z_s, y)
        kd = pt = zero
        by_layer = z_s.new_zeros(0, dtype=torch.float32)
        if targets is not None:
            kd = logit_loss(z_s, targets.logits, self.temperature, self.reduction)
        if self.layers:
            assert h_s is not None and targets is not None and targets.cls is not None
            by_layer = patience_by_layer(h_s, targets.cls, self.reduction)
            pt = patience_loss(by_layer, self.reduction)
        loss = (1 - self.alpha) * ce + self.alpha * kd + self.beta * pt
        return torch.cat([torch.stack([loss, ce, kd, pt]), by_layer])


@dataclass(frozen=True)
class Targets:
    """What the teacher says of a batch: logits [B, C] and, where layers were asked for, [CLS] [B, K, H]."""

    logits: Tensor
    cls: Tensor | None = None
