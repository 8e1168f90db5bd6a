"""Converted networks in inference."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from overparam.prune import apply_masks
from overparam.sparse import convert
from small import bits


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 5))


def images() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 3 * 3, 4),
    )


CASES = [pytest.param(perceptron, (12,), id="perceptron"), pytest.param(images, (2, 6, 6), id="images")]


def made(model: Callable[[], nn.Module], shape: tuple[int, ...], batch: int) -> tuple[nn.Module, Any, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = model()
        masks = {n: torch.rand(p.shape) < 0.3 for n, p in module.named_parameters() if p.dim() > 1}
        return module, masks, torch.randn(batch, *shape)


@pytest.mark.parametrize(("model", "shape"), CASES)
@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_outputs_without_gradients(
    model: Callable[[], nn.Module],
    shape: tuple[int, ...],
    batch: int,
    without: Callable[[], AbstractContextManager[None]],
) -> None:
    module, masks, inputs = made(model, shape, batch)
    network = convert(module, masks).eval()
    assert network.whole
    apply_masks(module.eval(), masks)
    with without():
        found = network(inputs)
        torch.testing.assert_close(found, module(inputs))
    assert not found.requires_grad
    assert found.shape[0] == batch


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_a_network_made_and_used_in_inference_mode_first_can_still_be_trained(
    model: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    module, masks, inputs = made(model, shape, 8)
    network, fresh = convert(module, masks).eval(), convert(module, masks).eval()
    with torch.inference_mode():
        network(inputs)
    for each in (network, fresh):
        each(inputs).square().sum().backward()
    for one, other in zip(network.parameters(), fresh.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert bits(one.grad) == bits(other.grad)
