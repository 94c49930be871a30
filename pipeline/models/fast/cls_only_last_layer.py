"""A last layer that computes [CLS] alone: nothing reads its other tokens.

A classification head reads position 0 of the last layer, and the patience loss never matches that layer. So that layer
needs keys and values of every token, but query, attention, output projection and feed-forward of [CLS] only. The
result is equal in real arithmetic; with dropout, other random numbers are drawn.
"""

import types
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.encoders import layers_of

_PARTS = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output", "output")


def only_cls_in_last_layer(model: Any) -> bool:
    """Make the last layer of `model` return [CLS] alone, [B, 1, H], and return whether its type is supported.

    Supported are the layers of BERT and those built like them (RoBERTa, ELECTRA, CamemBERT, XLM-RoBERTa); others are
    left as they are. State dict, configuration and saved files stay the same.
    """
    layer = layers_of(model)[-1]
    if not _is_like_bert(layer):
        return False
    layer.forward = types.MethodType(_forward, layer)
    return True


def _is_like_bert(layer: nn.Module) -> bool:
    names = dict(layer.named_modules())
    plain = not getattr(layer, "is_decoder", False) and not getattr(layer, "chunk_size_feed_forward", 0)
    return plain and all(name in names for name in _PARTS) and hasattr(layer, "feed_forward_chunk")


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
