"""A model of some layers of another one: which weights it takes from there."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from pipeline.errors import BadModel
from pipeline.models.encoders import cut_config, depth_of, first_layers, layer_list


def weights_of_layers(cut: Any, uncut: Any, layers: int | Sequence[int]) -> dict[str, str]:
    """Return {weight of `cut`: the weight of `uncut` that it takes}; layer j of `cut` is layer `layers[j - 1]`.

    Both may be without values. Raises `BadModel` where a layer has parts that its place in the cut model does not
    have, or in another size.
    """
    kept = first_layers(layers) if isinstance(layers, int) else tuple(layers)
    prefix, _ = layer_list(uncut)
    shapes, uncut_shapes = (
        {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} for model in (cut, uncut)
    )
    places = {name: _place(name, prefix, kept) for name in shapes}
    taken = set(places.values())
    unplaced = [name for name in uncut_shapes if name not in taken and _layer(name, prefix) in kept]
    faults = [f"{name} has another size" for name in shapes if shapes[name] != uncut_shapes.get(places[name])]
    if faults := faults or [f"{name} does not have a place" for name in unplaced]:
        kind, depth = uncut.config.model_type, depth_of(uncut.config)
        cut_to = f"{len(kept)} layers" if kept == first_layers(len(kept)) else f"layers {','.join(map(str, kept))}"
        raise BadModel(
            f"a {kind} cannot be cut to {cut_to}: {faults[0]} there. Use --student-layers {depth}, or another "
            "checkpoint with --init"
        )
    return places


def take_layers(uncut: Any, layers: Sequence[int], build: Any) -> nn.Module:
    """Return the model of these layers of `uncut`, with its weights; `build` makes a model of a configuration."""
    cut: nn.Module = build(cut_config(uncut.config, layers))
    weights = uncut.state_dict()
    cut.load_state_dict({name: weights[place] for name, place in weights_of_layers(cut, uncut, layers).items()})
    return cut


def _layer(name: str, prefix: str | None) -> int | None:
    """Return the number of the layer that a weight belongs to; None for another weight."""
    if prefix is None or not name.startswith(f"{prefix}."):
        return None
    return int(name[len(prefix) + 1 :].partition(".")[0]) + 1


def _place(name: str, prefix: str | None, kept: Sequence[int]) -> str:
    """Return the name in the uncut model of a weight of the cut one."""
    layer = _layer(name, prefix)
    if layer is None:
        return name
    part = name[len(f"{prefix}.{layer - 1}") :]
    return f"{prefix}.{kept[layer - 1] - 1}{part}"
