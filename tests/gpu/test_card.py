"""What has to hold on a card, by the checks of benchmarks/card.py; on a machine without one, that they run at all."""

from __future__ import annotations

import pytest
import torch

import card
from overparam.lab.torch_settings import full_precision

CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here: what holds on one was not tested")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CARD)])
@pytest.mark.parametrize("check", ["curves", "masks", "resume"])
def test_it_holds(check: str, device: str) -> None:
    with full_precision():
        assert card.CHECKS[check](device)


@CARD
def test_speed_is_measured() -> None:
    assert "times the CPU" in card.speed("cuda")
