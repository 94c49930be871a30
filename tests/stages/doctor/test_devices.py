"""Number formats: what --precision auto becomes, and a note where the other one multiplied faster."""

import pytest
import torch

from stages.doctor import devices


@pytest.mark.parametrize(("bfloat16", "state"), [(4e9, "ok"), (1e9, "ok"), (0.5e9, "note")])
def test_format_that_multiplies_slower_than_the_other_is_a_note(monkeypatch, bfloat16, state):
    rates = {torch.float32: 1e9, torch.bfloat16: bfloat16}
    monkeypatch.setattr(devices, "_rate", lambda _torch, dtype, _device: rates[dtype])
    monkeypatch.setattr("pipeline.models.accelerator.resolve_precision", lambda _precision: "bfloat16")
    monkeypatch.setattr("pipeline.models.accelerator.resolve_device", lambda _device: "cpu")
    check = devices._bfloat16(torch)
    assert check.state == state and "--precision auto is bfloat16" in check.found
    assert (check.advice is not None) == (state == "note")


def test_rate_of_a_product_is_a_number_of_operations_per_second(monkeypatch):
    monkeypatch.setattr(devices, "SECONDS", 0.0)
    assert devices._rate(torch, torch.float32, "cpu") > 1e6
