"""A run's precision is one that its device has units for."""

import pytest
import torch

from vitlab.precision import fastest_precision


@pytest.mark.parametrize(("units", "expected"), [((8, 0), "bf16-mixed"), ((7, 0), "16-mixed"), ((7, 5), "16-mixed")])
def test_a_gpu_without_bf16_units_gets_fp16(units, expected, monkeypatch):
    """A V100 is 7.0 and a T4 7.5: torch can emulate bf16 on both, slowly."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("P", (), {"major": units[0]}))
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True, raising=False)
    assert fastest_precision("gpu") == expected
