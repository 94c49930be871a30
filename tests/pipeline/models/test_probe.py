"""The made-up rows that models are compared on."""

import pytest
import torch
import transformers

from pipeline.models.probe import check_encoder, observe, probe_batch
from tests.helpers.encoders import SIZES


@pytest.mark.parametrize(("positions", "longest"), [(3, 3), (8, 8), (40, 12)])
def test_probe_has_no_more_tokens_than_the_model_has_positions(positions, longest):
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES | {"num_hidden_layers": 2, "max_position_embeddings": positions})
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    batch = probe_batch(model)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (4, longest)
    assert batch["attention_mask"].sum(1).tolist() == [min(tokens, longest) for tokens in (12, 12, 7, 3)]
    check_encoder(model)
    assert observe(model).outputs
