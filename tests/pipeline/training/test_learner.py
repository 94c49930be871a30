from itertools import pairwise

import pytest
import torch

from pipeline.training.learner import adamw, learning_rate


def test_linear_warm_up_and_decay():
    rates = [learning_rate(step, 20, 1.0, 0.1) for step in range(20)]
    assert rates[:3] == pytest.approx([0.0, 0.5, 1.0])
    assert rates[-1] == pytest.approx(1 / 18)
    assert all(a > b for a, b in pairwise(rates[2:]))


def test_warm_up_of_all_or_no_steps():
    assert learning_rate(0, 10, 1.0, 0.0) == 1.0
    assert [learning_rate(step, 4, 1.0, 1.0) for step in range(4)] == [0.0, 0.25, 0.5, 0.75]


def test_schedule_of_the_library():
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_linear_schedule_with_warmup(optimizer, 5, 37)
    for step in range(37):
        assert learning_rate(step, 37, 3e-4, 5 / 37) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_biases_and_layer_norms_do_not_decay():
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    optimizer = adamw(model, 0.01)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(model[0].weight), id(model[1].weight)}
