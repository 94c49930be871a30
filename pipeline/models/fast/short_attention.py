"""Attention for short inputs on a CPU, with the masks of cpu_dropout.py in training.

It computes plain products, which torch's fused kernel does not beat up to 128 tokens (docs/log.md).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from pipeline.models.fast.cpu_dropout import dropped

NAME = "pkd_short"
LONG = 256  # tokens


def short_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return [B, S, heads, width] from query, key and value [B, heads, S, width] and an additive mask [B, 1, S, S]."""
    if key.shape[2] > LONG:  # where the scores of all pairs would fill the memory
        mask = attention_mask if attention_mask is None else attention_mask.to(query.dtype)
        context = functional.scaled_dot_product_attention(
            query, key, value, mask, options["dropout"], scale=options["scaling"]
        )
        return context.transpose(1, 2), None
    scores = torch.matmul(query * options["scaling"], key.transpose(2, 3))
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = dropped(scores.softmax(-1), options["dropout"])
    return torch.matmul(weights, value).transpose(1, 2), None


AttentionInterface.register(NAME, short_attention)
AttentionMaskInterface.register(NAME, eager_mask)


class ShortAttention:
    """A model uses this attention."""

    name = "attention for short inputs"

    def __init__(self, model: Any):
        self.model = model
        self.before = model.config._attn_implementation

    def applies(self) -> bool:
        """Return whether the layers let transformers choose (MPNet's do not)."""
        return bool(getattr(self.model, "_supports_attention_backend", False))

    def apply(self) -> None:
        """Make it so."""
        self.model.set_attn_implementation(NAME)

    def undo(self) -> None:
        """Use the attention that was there."""
        self.model.set_attn_implementation(self.before)
