"""Models of some layers of another one."""

import pytest
import torch

from pipeline.errors import BadModel
from pipeline.models.checkpoints import build_classifier
from pipeline.models.chosen_layers import take_layers
from pipeline.models.encoders import layers_of
from tests.helpers.encoders import ARCHITECTURES


def build(kind):
    config_class, sizes = ARCHITECTURES[kind]
    torch.manual_seed(0)
    return build_classifier(config_class(**sizes)).eval()


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "longformer", "modernbert", "albert", "deberta-v3"])
def test_layers_have_the_weights_of_those_numbers(kind):
    whole = build(kind)
    cut = take_layers(whole, (1, 3), build_classifier)
    assert cut.config.num_hidden_layers == 2
    for layer, number in zip(layers_of(cut), (1, 3), strict=True):
        for one, other in zip(layer.parameters(), layers_of(whole)[number - 1].parameters(), strict=True):
            assert torch.equal(one, other)
    others = {name: tensor for name, tensor in whole.state_dict().items() if "layer" not in name}
    assert all(torch.equal(cut.state_dict()[name], tensor) for name, tensor in others.items())


def test_layer_that_cannot_be_the_first_is_refused():
    with pytest.raises(BadModel) as error:
        take_layers(build("modernbert"), (2, 3), build_classifier)
    assert str(error.value) == (
        "a modernbert cannot be cut to layers 2,3: model.layers.1.attn_norm.weight does not have a place there. Use "
        "--student-layers 4, or another checkpoint with --init"
    )
