"""The anatomy of Hugging Face encoders: find the layers, cut a model to N of them, read each [CLS].

Layers are numbered from 1. They are the one list of modules below the base model that is as long as the configuration
says; ALBERT repeats one module, and its layers are the repetitions. A cut is the same configuration with fewer of them.
"""

import copy
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import BadModel
from pipeline.system.system_errors import raise_if_of_system


def depth_of(config: Any) -> int:
    """Return L, the number of layers. Raises `BadModel` for a configuration that is not of a stack of encoder layers.

    Encoder-decoders and decoders are not.
    """
    depth = getattr(config, "num_hidden_layers", None)
    decoder = getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False)
    if not isinstance(depth, int) or depth < 1 or decoder:
        raise BadModel(
            f"{config.model_type} is not a stack of encoder layers and cannot be cut. Use a BERT-like encoder"
        )
    return depth


def is_multiple_choice(config: Any) -> bool:
    """Return whether a configuration belongs to a multiple-choice model."""
    return any(str(name).endswith("ForMultipleChoice") for name in config.architectures or ())


def sequences_of(config: Any) -> int:
    """Return S, the number of sequences that a model with this configuration takes as one example, [B, S, T].

    1 for a model of single sequences, which takes [B, T].
    """
    return int(config.num_labels) if is_multiple_choice(config) else 1


def first_layers(number: int) -> tuple[int, ...]:
    """Return the numbers of the first layers: 1..`number`."""
    return tuple(range(1, number + 1))


def cut_config(config: Any, layers: int | Sequence[int]) -> Any:
    """Return a copy of the configuration with its first `layers` layers, or with those of these numbers.

    Lists with an entry for each layer, as ModernBERT's `layer_types`, are cut too: a list of L entries is one if the
    configuration is not valid without the last.
    """
    depth = depth_of(config)
    kept = first_layers(layers) if isinstance(layers, int) else layers
    if len(kept) < depth and getattr(config, "num_hidden_groups", 1) not in (1, depth):
        raise BadModel(
            f"an {config.model_type} of {config.num_hidden_groups} groups of layers cannot be cut: fewer layers would "
            "use them in another order. Start students from another checkpoint with --init"
        )
    cut = copy.deepcopy(config)
    cut.num_hidden_layers = len(kept)
    for name, value in vars(config).items():
        if len(kept) < depth == len(value if isinstance(value, list | tuple) else ()):
            shorter = copy.deepcopy(config)
            setattr(shorter, name, value[:-1])
            if not _is_valid(shorter):
                setattr(cut, name, [value[layer - 1] for layer in kept])
    return cut


def _is_valid(config: Any) -> bool:
    """Return whether transformers saves the configuration and makes a model of it."""
    import transformers

    try:
        with tempfile.TemporaryDirectory() as directory:
            config.save_pretrained(directory)
        with torch.device("meta"):
            transformers.AutoModel.from_config(config)
    except Exception as error:  # each configuration and model has its own kind of refusal
        raise_if_of_system(error)
        return False
    return True


def layer_list(model: Any) -> tuple[str | None, list[nn.Module]]:
    """Return the name of the list of layers (as in the state dict; None for repetitions of one module) and the layers.

    Raises `BadModel` if there is no such list.
    """
    config = model.config
    depth = depth_of(config)
    prefix: str = getattr(model, "base_model_prefix", "")
    groups = getattr(config, "num_hidden_groups", depth)
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == groups and name.startswith(f"{prefix}.")
    ]
    # A list inside a layer of a one-layer model does not count.
    lists = [(name, module) for name, module in lists if not any(name.startswith(f"{outer}.") for outer, _ in lists)]
    if len(lists) != 1:
        raise BadModel(
            f"{config.model_type} has no list of its {depth} layers and cannot be cut. "
            "Use a BERT-like encoder (docs/encoders.md has a list)"
        )
    name, modules = lists[0]
    if groups == depth:
        return name, list(modules)
    return None, [modules[layer * groups // depth] for layer in range(depth)]


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Return the encoder's layers; a module that is used as several layers is there as often.

    Raises `BadModel` as `layer_list` does.
    """
    return layer_list(model)[1]


@contextmanager
def cls_vectors(model: nn.Module, layers: Sequence[int]) -> Iterator[list[Tensor]]:
    """Yield a list that every forward pass of `model` fills with [CLS] of these layers, [B, H] for B sequences."""
    with layer_outputs(model, layers, lambda output: output[:, 0]) as vectors:
        yield vectors


@contextmanager
def layer_outputs(model: nn.Module, layers: Sequence[int], read: Callable[[Tensor], Any]) -> Iterator[list[Any]]:
    """Yield a list that every forward pass fills with what `read` returns for the output [B, S, H] of these layers."""
    modules = layers_of(model)
    results: list[Any] = [torch.empty(0)] * len(layers)
    place = {layer: index for index, layer in enumerate(layers)}

    def hook_for(numbers: list[int]) -> Any:
        calls = itertools.cycle(numbers)

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            layer = next(calls)
            if layer in place:
                results[place[layer]] = read(output[0] if isinstance(output, tuple) else output)

        return hook

    numbers: dict[nn.Module, list[int]] = {}
    for number, module in enumerate(modules, start=1):
        numbers.setdefault(module, []).append(number)
    used = {module: of_module for module, of_module in numbers.items() if place.keys() & set(of_module)}
    handles = [module.register_forward_hook(hook_for(of_module)) for module, of_module in used.items()]
    try:
        yield results
    finally:
        for handle in handles:
            handle.remove()


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
