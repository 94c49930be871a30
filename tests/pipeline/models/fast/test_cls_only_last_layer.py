"""The last layer for [CLS] alone, fast dropout and short attention: the same numbers as transformers' own."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
)

from pipeline.models.accelerator import prepare_for_cls
from pipeline.models.checkpoints import build_classifier
from pipeline.models.encoders import cls_vectors
from pipeline.models.fast.cls_only_last_layer import LastLayerForCls
from pipeline.models.fast.cpu_dropout import dropped
from pipeline.models.fast.short_attention import LONG
from pipeline.models.fast.shortcut import use_where_equal

SIZE = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, vocab_size=99)
LIKE_BERT = {
    "bert": BertConfig(**SIZE, max_position_embeddings=600),
    "roberta": RobertaConfig(**SIZE, max_position_embeddings=602),
    "electra": ElectraConfig(**SIZE, embedding_size=32, max_position_embeddings=600),
}
OTHERS = {
    "distilbert": DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=64, vocab_size=99),
    "mpnet": MPNetConfig(**SIZE, max_position_embeddings=602),
}
CPU = torch.device("cpu")


def inputs(tokens: int = 11) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    lengths = torch.tensor([tokens, 3, tokens // 2])
    return {
        "input_ids": torch.randint(5, 99, (3, tokens)),
        "attention_mask": (torch.arange(tokens)[None] < lengths[:, None]).long(),
    }


def pair(config) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = build_classifier(config)
    for parameter in plain.parameters():  # so that every bias matters
        nn.init.normal_(parameter, std=0.2)
    return plain, prepare_for_cls(copy.deepcopy(plain), CPU)


@pytest.mark.parametrize("tokens", [11, LONG + 3])
@pytest.mark.parametrize("name", [*LIKE_BERT, *OTHERS])
def test_logits_cls_and_gradients_are_those_of_transformers(name, tokens):
    if name == "distilbert" and tokens > LONG:
        pytest.skip("the same path as the others'")
    outputs = []
    for model in pair((LIKE_BERT | OTHERS)[name]):
        model.eval()
        with cls_vectors(model, [1, 2, 3]) as read:
            logits = model(**inputs(tokens)).logits
        (logits.square().sum() + torch.stack(read).sum()).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None and p.grad.abs().max() > 0]
        outputs.append([logits.detach(), *(cls.detach() for cls in read), *gradients])
    assert len(outputs[0]) == len(outputs[1]) > 10
    for plain, fast in zip(*outputs, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-6, atol=1e-6 * float(plain.abs().max().clamp(min=1)))


@pytest.mark.parametrize("name", [*LIKE_BERT, *OTHERS])
def test_the_last_layer_computes_cls_alone_where_it_can(name):
    model = build_classifier((LIKE_BERT | OTHERS)[name]).eval()
    assert bool(use_where_equal(model, [LastLayerForCls(model)])) == (name in LIKE_BERT)
    hidden = model.base_model(**inputs()).last_hidden_state
    assert hidden.shape == ((3, 1, 32) if name in LIKE_BERT else (3, 11, 32))


def test_a_copy_computes_with_its_own_weights():
    _, fast = pair(LIKE_BERT["bert"])
    other = copy.deepcopy(fast).eval()
    expected = fast.eval()(**inputs()).logits
    for parameter in fast.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(other(**inputs()).logits, expected)


def test_what_is_saved_is_what_was_there(tmp_path):
    plain, fast = pair(LIKE_BERT["bert"])
    plain.save_pretrained(tmp_path / "plain")
    fast.save_pretrained(tmp_path / "fast")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "fast" / file).read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_the_share_and_keeps_the_mean(dtype, p):
    torch.manual_seed(0)
    hidden = torch.full((1000, 401), 2.0, dtype=dtype, requires_grad=True)
    result = dropped(hidden, p)
    scale = torch.tensor(2 / (1 - p), dtype=torch.float32)
    assert set(result.float().unique().tolist()) == {0.0, float(scale.to(dtype))} or dtype == torch.bfloat16
    share = float((result == 0).float().mean())
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / hidden.numel())
    result.sum().backward()
    assert torch.equal(hidden.grad == 0, result == 0) and hidden.grad.dtype == dtype


def test_dropout_is_decided_by_the_seed_and_differs_between_calls():
    hidden = torch.ones(64, 65)
    torch.manual_seed(3)
    first, second = dropped(hidden, 0.5), dropped(hidden, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropped(hidden, 0.5), first) and not torch.equal(first, second)
    assert torch.equal(dropped(hidden, 0.0), hidden) and not dropped(hidden, 1.0).any()


def test_dropout_is_active_in_training_only():
    _, fast = pair(LIKE_BERT["bert"])
    batch = inputs()
    assert not torch.equal(fast.train()(**batch).logits, fast(**batch).logits)
    assert torch.equal(fast.eval()(**batch).logits, fast(**batch).logits)
