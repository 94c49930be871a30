"""ONNX files of tiny models, each written once."""

from types import SimpleNamespace

import pytest
import torch
import transformers

from pipeline.inference.onnx_writer import write_onnx
from tests.helpers.encoders import ARCHITECTURES


def build(kind: str, classes: int = 3, choices: bool = False, **settings) -> object:
    config_class, sizes = ARCHITECTURES[kind]
    torch.manual_seed(0)
    config = config_class(
        **sizes | {"num_labels": classes, "num_hidden_layers": 2, "initializer_range": 0.5} | settings
    )
    if not choices:
        return transformers.AutoModelForSequenceClassification.from_config(config).eval()
    config.architectures = ["BertForMultipleChoice"]
    return transformers.AutoModelForMultipleChoice.from_config(config).eval()


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> SimpleNamespace:
    """A tiny BERT of three classes and its file."""
    model = build("bert")
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(model, path)
    return SimpleNamespace(model=model, path=path)


@pytest.fixture(scope="session")
def exported_choices(tmp_path_factory) -> SimpleNamespace:
    """A tiny BERT that chooses among three, and its file, which does not take segment ids."""
    model = build("bert", choices=True, num_hidden_layers=1)
    path = tmp_path_factory.mktemp("onnx-choices") / "model.onnx"
    write_onnx(model, path, segments=False)
    return SimpleNamespace(model=model, path=path)
