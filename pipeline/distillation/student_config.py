"""The configuration file of a student with new weights: read as plain JSON before transformers acts on it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.cache.teacher_config import check_plain, read_object
from pipeline.errors import BadOption, one_line
from pipeline.models.checkpoints import Head, load_config, new_classifier
from pipeline.models.encoders import depth_of, parameter_count
from pipeline.models.model_checks import check_once
from pipeline.system.cpu import memory_bytes
from pipeline.system.formatting import size
from pipeline.system.system_errors import raise_if_of_system, reason_of, refusing

BYTES_PER_PARAMETER = 16  # in training: the value, its gradient, and two moments, in float32


def read_student_config(name: str) -> Any:
    """Return the transformers configuration in a JSON file. Raises `BadOption`: the file may come from anyone."""
    path = Path(name)
    try:
        values = read_object(path)
        check_plain(path.name, values)
        if not isinstance(values.get("model_type"), str):
            raise ValueError('it does not say which "model_type" it is of')
        config = load_config(name)
        depth_of(config)
    except OSError as error:
        raise BadOption(
            f"--student-config {name} cannot be read ({reason_of(error)}). Name the config.json of an encoder"
        ) from error
    except Exception as error:  # each configuration has its own kind of refusal
        raise_if_of_system(error)
        raise BadOption(
            f"--student-config {name} is not the configuration of an encoder ({one_line(error, 160)}). Name a "
            "config.json that transformers saved, for example of a small BERT"
        ) from error
    return config


def new_student(name: str, tokenizer: Any, head: Head) -> nn.Module:
    """Return a student of the configuration in a file, with weights drawn from torch's generator.

    Its padding token becomes the tokenizer's. Raises `BadOption` where the tokens do not fit, or no such model can be
    trained on this machine; `BadModel` for one whose [CLS] vectors cannot be distilled.
    """
    config = read_student_config(name)
    largest = max(tokenizer.get_vocab().values())
    if getattr(config, "vocab_size", 0) <= largest:
        raise BadOption(
            f"--student-config {name} has a vocab_size of {getattr(config, 'vocab_size', 0)}, and the tokenizer has "
            f'token ids up to {largest}. Write "vocab_size": {largest + 1} in it'
        )
    config.pad_token_id = tokenizer.pad_token_id
    with refusing(lambda error: _not_made(name, error)):
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            needed = BYTES_PER_PARAMETER * parameter_count(new_classifier(config, head))
        if memory_bytes() and needed > memory_bytes():
            raise ValueError(f"its training needs {size(needed)}, and this machine has {size(memory_bytes())}")
        model = new_classifier(config, head)
        check_once(model)
    return model


def _not_made(name: str, error: Exception) -> BadOption:
    return BadOption(
        f"--student-config {name}: such a model cannot be made ({one_line(error, 160)}). Correct the file, or name "
        "another"
    )
