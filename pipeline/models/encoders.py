"""The anatomy of Hugging Face encoders: find the layers, cut a model to N of them, read each [CLS].

Layers are numbered from 1. They are the one list of modules below the base model that is as long as the
configuration says, and a cut is the same configuration with fewer of them.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import BadModel, BadOption

_UNSET = 10**6  # tokenizers without a limit carry a huge number


def depth_of(config: Any) -> int:
    """Return L, the number of layers. Raises `BadModel` for a configuration that does not state it."""
    depth = getattr(config, "num_hidden_layers", None)
    if not isinstance(depth, int) or depth < 1 or getattr(config, "is_encoder_decoder", False):
        raise BadModel(
            f"{config.model_type} is not a stack of encoder layers and cannot be cut. Use a BERT-like encoder"
        )
    return depth


def cut_config(config: Any, layers: int) -> Any:
    """Return a copy of the configuration with `layers` layers."""
    depth_of(config)
    cut = copy.deepcopy(config)
    cut.num_hidden_layers = layers
    return cut


def layer_list(model: Any) -> tuple[str, nn.ModuleList]:
    """Return the name (as in the state dict) and modules of the encoder's layers.

    Raises `BadModel` if there is no such list: ALBERT, for one, has a single module for all its layers.
    """
    config = model.config
    depth = depth_of(config)
    prefix: str = getattr(model, "base_model_prefix", "")
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth and name.startswith(f"{prefix}.")
    ]
    # A list inside a layer of a one-layer model does not count.
    lists = [(name, module) for name, module in lists if not any(name.startswith(f"{outer}.") for outer, _ in lists)]
    if len(lists) != 1:
        raise BadModel(
            f"{config.model_type} has no list of its {depth} layers and cannot be cut. "
            "Use a BERT-like encoder (BERT, RoBERTa, DistilBERT, ELECTRA, MPNet)"
        )
    return lists[0]


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Return the encoder's layers. Raises `BadModel` as `layer_list` does."""
    return layer_list(model)[1]


@contextmanager
def cls_vectors(model: nn.Module, layers: Sequence[int]) -> Iterator[list[Tensor]]:
    """Yield a list that every forward pass of `model` fills with the [CLS] vectors [B, H] of these layers."""
    modules = layers_of(model)
    vectors: list[Tensor] = [torch.empty(0)] * len(layers)

    def hook_for(index: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            vectors[index] = (output[0] if isinstance(output, tuple) else output)[:, 0]

        return hook

    handles = [modules[layer - 1].register_forward_hook(hook_for(index)) for index, layer in enumerate(layers)]
    try:
        yield vectors
    finally:
        for handle in handles:
            handle.remove()


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def position_limit(config: Any) -> int:
    """Return the length in tokens of the longest input that the model has positions for."""
    positions: int = getattr(config, "max_position_embeddings", _UNSET)
    # These models number positions from the padding index on.
    return positions - 2 if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else positions


def check_max_length(max_length: int, tokenizer: Any, config: Any) -> None:
    """Raise `BadOption` for inputs longer than the model has positions for."""
    limit = min(position_limit(config), tokenizer.model_max_length)
    if limit < _UNSET and max_length > limit:
        raise BadOption(f"--max-length {max_length}: this model takes {limit} tokens at most. Try --max-length {limit}")
