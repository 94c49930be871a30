"""Learned linear maps of a student's [CLS] vectors to the width of its teacher, one per matched layer.

They are trained with the student and are not part of it. They have no bias: a bias could match what all [CLS] vectors
of a layer have in common, which the student would then not learn.
"""

import numpy as np
import torch
from torch import Tensor, nn

_STREAM = 1  # of --seed: the maps do not depend on what else is drawn


class ClsMaps(nn.Module):
    """One map per matched layer, orthogonal at first, so that angles stay as they are; a function of `seed` alone."""

    def __init__(self, layers: int, student_width: int, teacher_width: int, seed: int):
        super().__init__()
        state = int(np.random.SeedSequence((seed, _STREAM)).generate_state(1)[0])
        generator = torch.Generator().manual_seed(state)
        self.weight = nn.Parameter(torch.empty(layers, student_width, teacher_width))
        for layer in self.weight:
            nn.init.orthogonal_(layer, generator=generator)

    def forward(self, cls: Tensor) -> Tensor:
        """Return the [CLS] vectors [n, K, H_s] in the teacher's width, [n, K, H_t]."""
        return project(cls, self.weight)


def project(cls: Tensor, weight: Tensor) -> Tensor:
    """Return each layer's [CLS] vectors [n, K, H_s] times its map, of `weight` [K, H_s, H_t]: [n, K, H_t]."""
    return torch.einsum("nks,kst->nkt", cls, weight)
