"""Learned maps of [CLS] vectors."""

import torch

from pipeline.distillation.projection import ClsMaps


def test_maps_keep_angles_at_first_and_depend_on_the_seed_alone():
    torch.manual_seed(3)
    maps = ClsMaps(2, 4, 6, seed=1)
    torch.manual_seed(4)
    assert torch.equal(maps.weight, ClsMaps(2, 4, 6, seed=1).weight)
    assert not torch.equal(maps.weight, ClsMaps(2, 4, 6, seed=2).weight)
    assert not torch.equal(maps.weight[0], maps.weight[1])
    cls = torch.randn(3, 2, 4)
    mapped = maps(cls)
    assert mapped.shape == (3, 2, 6)
    torch.testing.assert_close(mapped.norm(dim=-1), cls.norm(dim=-1))
    torch.testing.assert_close(mapped[:, 1], cls[:, 1] @ maps.weight[1])
