"""Converted networks in inference, and what is measured of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.prune import apply_masks
from overparam.sparse import InferenceGain, convert, inference_gain
from small import bits, same_bits


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
    assert not network.fallbacks
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


@pytest.mark.parametrize(("model", "shape"), CASES)
@pytest.mark.parametrize("batch", [1, 5])
def test_the_gain_is_measured(model: Callable[[], nn.Module], shape: tuple[int, ...], batch: int) -> None:
    module, masks, inputs = made(model, shape, batch)
    before = copy.deepcopy(module)
    gain = inference_gain(module, masks, inputs, repeat=3)
    assert 0 < gain.dense_ms < math.inf
    assert 0 < gain.sparse_ms < math.inf
    assert gain.gain_ms == gain.dense_ms - gain.sparse_ms
    assert gain.speedup == gain.dense_ms / gain.sparse_ms
    assert module.training
    assert same_bits(module.state_dict(), before.state_dict())


def test_a_converted_network_is_measured_and_left_as_it_was() -> None:
    module, masks, inputs = made(images, (2, 6, 6), 4)
    network = convert(module, masks).train()
    network.model.get_submodule("1").eval()  # a frozen norm stays one
    flags = [part.training for part in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert inference_gain(network, None, inputs, repeat=1).sparse_ms > 0
    assert [part.training for part in network.modules()] == flags
    assert same_bits(network.state_dict(), before)


def test_both_are_measured_in_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    module, masks, inputs = made(perceptron, (12,), 2)
    calls: list[str] = []
    network = convert(module, masks)
    dense_seconds, sparse_seconds = [9, 9, 1, 5, 2], [9, 9, 1, 1, 7]  # two calls warm up
    durations = iter([second for pair in zip(dense_seconds, sparse_seconds, strict=True) for second in pair])
    clock = [0.0]

    def spend(kind: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls.append(kind)
            clock[0] += next(durations)

        return hook

    dense = network.to_dense()
    dense.register_forward_hook(spend("dense"))
    network.register_forward_hook(spend("sparse"))
    monkeypatch.setattr(network, "to_dense", lambda: dense)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    gain = inference_gain(network, None, inputs, repeat=3)
    assert calls == ["dense", "sparse"] * 5
    assert gain == InferenceGain(2000, 1000)
    assert (gain.gain_ms, gain.speedup) == (1000, 2)


def test_wrong_arguments_are_told() -> None:
    module, masks, inputs = made(perceptron, (12,), 2)
    with pytest.raises(SpecError, match="repeat must be 1 or more, got 0"):
        inference_gain(module, masks, inputs, repeat=0)
    with pytest.raises(SpecError, match="masks must be None for a converted network"):
        inference_gain(convert(module, masks), masks, inputs)
    with pytest.raises(SpecError, match="no parameter 'nothing'"):
        inference_gain(module, {"nothing": torch.ones(1, dtype=torch.bool)}, inputs)
