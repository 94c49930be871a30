"""Whether a model can be distilled, saved and loaded again: before anything is computed with it."""

import tempfile
from typing import Any

import torch

from pipeline.errors import BadModel, one_line
from pipeline.models.probe import check_encoder
from pipeline.system.digests import config_digest
from pipeline.system.system_errors import refusing

# (digest of the configuration, class) of models that were checked in this process: a sweep loads one shape many times
_checked: set[tuple[str, type]] = set()


def check_once(model: Any) -> None:
    """Raise `BadModel` for a model that cannot be distilled or saved; once per configuration."""
    if (key := (config_digest(model.config), type(model))) not in _checked:
        check_encoder(model)
        check_saves(model)
        _checked.add(key)


def check_saves(model: Any) -> None:
    """Raise `BadModel` unless the configuration of a model is valid, and is the same after saving and loading."""
    import transformers

    kind, depth = model.config.model_type, model.config.num_hidden_layers

    def unsaved(error: Exception) -> BadModel:
        return BadModel(
            f"a {kind} of {depth} layers cannot be saved ({one_line(error, 160)}). Use another number of layers, or "
            "another encoder"
        )

    with refusing(unsaved):
        with tempfile.TemporaryDirectory() as directory:
            model.config.save_pretrained(directory)
            loaded = transformers.AutoConfig.from_pretrained(directory)
        with torch.device("meta"):
            copy = type(model)(loaded)
        shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in (model, copy)]
        if shapes[0] != shapes[1]:
            raise ValueError("it has other weights once loaded")
