"""Which modules are plain perceptrons, so that compiled epochs can train them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from overparam.networks.architecture import NETWORKS
from overparam.sparse.perceptron import Layer, perceptron_layers


def plain() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))


PLAIN = [Layer("1.weight", "1.bias", True), Layer("3.weight", "3.bias", False)]


def test_sequences_are_recognised() -> None:
    one, two = nn.Linear(12, 5, bias=False), nn.Linear(5, 3)
    expected = [Layer("1.weight", None, True), Layer("3.weight", "3.bias", False)]
    assert perceptron_layers(nn.Sequential(nn.Flatten(), one, nn.ReLU(), two)) == expected
    nested = nn.Sequential(nn.Sequential(nn.Flatten(), one), nn.Sequential(nn.ReLU(inplace=True), nn.Sequential(two)))
    assert perceptron_layers(nested) == [Layer("0.1.weight", None, True), Layer("1.1.0.weight", "1.1.0.bias", False)]
    assert perceptron_layers(nn.Sequential(two)) == [Layer("0.weight", "0.bias", False)]
    nothing = nn.Sequential(nn.Identity(), one, nn.Dropout(0.0), nn.ReLU(), nn.Identity(), two)
    assert perceptron_layers(nothing) == [Layer("1.weight", None, True), Layer("5.weight", "5.bias", False)]
    twice = nn.Sequential(one, nn.ReLU(), nn.ReLU(), two)
    assert perceptron_layers(twice) == [Layer("0.weight", None, True), Layer("3.weight", "3.bias", False)]


@pytest.mark.parametrize("name", ["mlp", "lenet-300-100"])
def test_the_built_in_ones_are_recognised(name: str) -> None:
    layers = perceptron_layers(NETWORKS.get(name)((1, 6, 6), 3))
    assert layers is not None
    assert [layer.weight for layer in layers] == ["fc1.weight", "fc2.weight", "output.weight"]


def test_any_forward_of_ones_own_is_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = plain()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.net(x)
            return out

    class Same(nn.Sequential):
        pass

    assert perceptron_layers(Own()) is None
    assert perceptron_layers(Same(*plain())) is None
    assert perceptron_layers(nn.Sequential(nn.Flatten(), Own())) is None


def changed(change: Callable[[Any], Any]) -> nn.Module:
    module = plain()
    change(module)
    return module


def tied(net: Any) -> None:
    net[2] = nn.Linear(5, 5)
    net[3] = nn.ReLU()
    net.append(nn.Linear(5, 5))
    net[4].weight = net[2].weight


def sharing_memory(net: Any) -> None:
    tied(net)
    net[4].weight = nn.Parameter(net[2].weight.data)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a buffer": lambda net: net.register_buffer("mean", torch.zeros(1)),
    "a parameter besides": lambda net: net.register_parameter("gain", nn.Parameter(torch.ones(1))),
    "a frozen parameter": lambda net: net[1].bias.requires_grad_(False),
    "tied weights": tied,
    "two weights in one memory": sharing_memory,
    "a layer used twice": lambda net: net.extend([nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), net[3]]),
    "a forward hook": lambda net: net[1].register_forward_hook(lambda *_: None),
    "a hook before": lambda net: net.register_forward_pre_hook(lambda *_: None),
    "a backward hook": lambda net: net[3].register_full_backward_hook(lambda *_: None),
    "a hook before backward": lambda net: net[3].register_full_backward_pre_hook(lambda *_: None),
    "a parameter's hook": lambda net: net[1].weight.register_hook(lambda grad: grad * 2),
    "a hook after a gradient": lambda net: net[1].weight.register_post_accumulate_grad_hook(lambda _: None),
    "a forward of its own": lambda net: setattr(net[1], "forward", net[1].forward),
    "a forward of the whole": lambda net: setattr(net, "forward", net.forward),
    "half precision": lambda net: net.half(),
    "a parametrisation": lambda net: nn.utils.parametrizations.orthogonal(net[3]),
    "relu first": lambda net: net.insert(0, nn.ReLU()),
    "relu last": lambda net: net.append(nn.ReLU()),
    "flatten from 0": lambda net: net.insert(0, nn.Flatten(0)),
    "flatten within": lambda net: net.insert(2, nn.Flatten()),
    "no relu between": lambda net: net.pop(2),
    "nothing but the input": lambda net: [net.pop(-1) for _ in range(4)],
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_not_plain_is_refused(case: str) -> None:
    assert perceptron_layers(plain()) == PLAIN
    assert perceptron_layers(changed(CHANGES[case])) is None


@pytest.mark.parametrize(
    "part",
    [nn.Dropout(0.1), nn.BatchNorm1d(5), nn.Tanh(), nn.LeakyReLU(), nn.LayerNorm(5), nn.Unflatten(1, (5, 1))],
    ids=lambda part: type(part).__name__,
)
def test_other_parts_are_refused(part: nn.Module) -> None:
    assert perceptron_layers(nn.Sequential(nn.Linear(4, 5), part, nn.ReLU(), nn.Linear(5, 3))) is None
