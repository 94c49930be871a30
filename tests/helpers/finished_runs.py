"""Run directories of random models, as a training leaves them, without a training."""

import json
from pathlib import Path
from typing import Any

import torch

from pipeline.models.checkpoints import build_classifier
from tests.helpers.encoders import ARCHITECTURES, WITH_TYPES, tokenizer


def save_run(directory: Path, kind: str = "bert", cache: str | None = None, **sizes: Any) -> Path:
    """Write a finished run of a random encoder with a head; `architectures` of `sizes` makes a multiple-choice one."""
    config_class, defaults = ARCHITECTURES[kind]
    architectures = sizes.pop("architectures", None)
    config = config_class(**defaults | sizes)
    config.architectures = architectures
    torch.manual_seed(0)
    model = build_classifier(config)
    if architectures:
        model.config.architectures = architectures
    model.save_pretrained(directory / "model")
    tokenizer(types=kind in WITH_TYPES).save_pretrained(directory / "model")
    record = {"command": "train-student", "config": {}, "inputs": {}, "cache": cache, "result": {}}
    (directory / "run.json").write_text(json.dumps(record))
    return directory
