"""A last layer that computes [CLS] alone: nothing reads its other tokens.

A classification head reads position 0 of the last layer, and the patience loss never matches that layer. So that layer
needs keys and values of every token, but query, attention, output projection and feed-forward of [CLS] only. The
result is equal in real arithmetic; with dropout, other random numbers are drawn.
"""

import types
from typing import Any

from torch import Tensor
from torch.nn import functional

from pipeline.models.encoders import layers_of

_PARTS = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output", "output")


class LastLayerForCls:
    """The last layer of a model returns [CLS] alone, [B, 1, H].

    State dict, configuration and saved files stay the same.
    """

    name = "last layer for [CLS] alone"

    def __init__(self, model: Any):
        self.layer: Any = layers_of(model)[-1]

    def applies(self) -> bool:
        """Return whether the layer has the parts of BERT's, and is not used as another layer too."""
        names = dict(self.layer.named_modules())
        plain = not getattr(self.layer, "is_decoder", False) and not getattr(self.layer, "chunk_size_feed_forward", 0)
        return plain and all(name in names for name in _PARTS) and hasattr(self.layer, "feed_forward_chunk")

    def apply(self) -> None:
        """Make it so."""
        self.layer.forward = types.MethodType(_forward, self.layer)

    def undo(self) -> None:
        """Let the layer compute as it did."""
        vars(self.layer).pop("forward", None)


def _forward(layer: Any, hidden: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """Return [CLS] of the layer's output, [B, 1, H], from the hidden states [B, S, H] of the layer below."""
    attention = layer.attention.self
    cls = hidden[:, :1]
    heads = (*hidden.shape[:1], -1, attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (
        project(tokens).view(heads).transpose(1, 2)
        for project, tokens in ((attention.query, cls), (attention.key, hidden), (attention.value, hidden))
    )
    if attention_mask is not None:  # [B, 1, S or 1, S]: the row of [CLS]
        attention_mask = attention_mask[:, :, :1]
        if attention_mask.is_floating_point():
            attention_mask = attention_mask.to(query.dtype)
    context = functional.scaled_dot_product_attention(
        query, key, value, attention_mask, attention.dropout.p if layer.training else 0.0
    )
    attended = layer.attention.output(context.transpose(1, 2).flatten(2), cls)
    result: Tensor = layer.feed_forward_chunk(attended)
    return result
