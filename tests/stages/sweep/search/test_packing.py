"""The size of a pack."""

from types import SimpleNamespace

import pytest
import torch

from pipeline.errors import BadOption
from stages.sweep.search import packing


@pytest.mark.trains
def test_auto_pack_takes_the_sizes_that_fit_into_memory(monkeypatch):
    def measured(cache, config, sizes):
        if 4 in sizes:
            raise torch.OutOfMemoryError("out of memory")
        return {size: 1.0 / size for size in sizes}

    trial = SimpleNamespace(config=SimpleNamespace(cache="c"))
    monkeypatch.setattr(packing, "measure_pack", measured)
    assert packing.pack_size("auto", trial, SimpleNamespace(tokenized=lambda config: None)) == 2

    def nothing(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(packing, "measure_pack", nothing)
    with pytest.raises(BadOption, match="not even one student fits into this GPU's memory"):
        packing.pack_size("auto", trial, SimpleNamespace(tokenized=lambda config: None))
