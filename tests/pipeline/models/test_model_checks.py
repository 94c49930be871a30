"""Checks of a model, which a process makes once per configuration."""

import pytest
import torch
import transformers

from pipeline.errors import BadModel
from pipeline.models import model_checks
from tests.helpers.encoders import SIZES


def build(**changes) -> torch.nn.Module:
    config = transformers.BertConfig(**SIZES | {"max_position_embeddings": 40} | changes)
    return transformers.BertForSequenceClassification(config)


def test_model_is_run_and_saved_once_per_configuration(monkeypatch):
    monkeypatch.setattr(model_checks, "_checked", set())
    saved = []
    monkeypatch.setattr(model_checks, "check_saves", saved.append)
    models = [build(), build(), build(num_labels=3), build()]
    for model in models:
        model_checks.check_once(model)
    assert saved == [models[0], models[2]]


def test_model_that_fails_is_refused_each_time():
    model = build()
    model.config.id2label = object()
    for _ in range(2):
        with pytest.raises(BadModel, match=r"^a bert of 4 layers cannot be saved \("):
            model_checks.check_once(model)
