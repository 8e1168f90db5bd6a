"""Which modules are plain perceptrons, so that compiled epochs can train them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from overparam.sparse.perceptron import Layer, perceptron_layers


class Functional(nn.Module):
    """A perceptron whose forward is a function of the test."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], bias: bool = True) -> None:
        super().__init__()
        self.one = nn.Linear(12, 5, bias=bias)
        self.two = nn.Linear(5, 5)
        self.three = nn.Linear(5, 3)
        self.how = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


def plain(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.one(x.flatten(1)))
    return net.three(torch.relu(net.two(x)))


THREE = [Layer("one.weight", "one.bias", True), Layer("two.weight", "two.bias", True)]
THREE += [Layer("three.weight", "three.bias", False)]

RECOGNISED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "functions": plain,
    "methods": lambda net, x: net.three(net.two(net.one(torch.flatten(x, 1)).relu()).relu()),
    "flatten with a keyword": lambda net, x: net.three(net.two(net.one(x.flatten(start_dim=1)).relu()).relu()),
    "flatten with both ends": lambda net, x: net.three(net.two(net.one(torch.flatten(x, 1, -1)).relu()).relu()),
    "relu in place": lambda net, x: net.three(
        functional.relu(net.two(functional.relu(net.one(x.flatten(1)), inplace=True)), inplace=True)
    ),
    "relu twice": lambda net, x: net.three(net.two(net.one(x.flatten(1)).relu().relu()).relu()),
}


@pytest.mark.parametrize("case", RECOGNISED)
def test_functional_perceptrons_are_recognised(case: str) -> None:
    assert perceptron_layers(Functional(RECOGNISED[case])) == THREE


def test_sequences_are_recognised() -> None:
    one, two = nn.Linear(12, 5, bias=False), nn.Linear(5, 3)
    expected = [Layer("1.weight", None, True), Layer("3.weight", "3.bias", False)]
    assert perceptron_layers(nn.Sequential(nn.Flatten(), one, nn.ReLU(), two)) == expected
    nested = nn.Sequential(nn.Sequential(nn.Flatten(), one), nn.Sequential(nn.ReLU(inplace=True), nn.Sequential(two)))
    assert perceptron_layers(nested) == [Layer("0.1.weight", None, True), Layer("1.1.0.weight", "1.1.0.bias", False)]
    assert perceptron_layers(nn.Sequential(two)) == [Layer("0.weight", "0.bias", False)]
    nothing = nn.Sequential(nn.Identity(), one, nn.Dropout(0.0), nn.ReLU(), nn.Identity(), two)
    assert perceptron_layers(nothing) == [Layer("1.weight", None, True), Layer("5.weight", "5.bias", False)]


REFUSED: dict[str, Callable[[Any, Tensor], Any]] = {
    "two outputs": lambda net, x: (net.three(net.two(net.one(x).relu()).relu()), x),
    "a residual": lambda net, x: net.three((lambda h: h + net.two(h).relu())(net.one(x).relu())),
    "an output used twice": lambda net, x: (lambda h: net.three(net.two(h).relu()) + h[:, :3])(net.one(x).relu()),
    "tanh": lambda net, x: net.three(net.two(net.one(x).tanh()).relu()),
    "leaky": lambda net, x: net.three(net.two(functional.leaky_relu(net.one(x))).relu()),
    "no relu between": lambda net, x: net.three(net.two(net.one(x)).relu()),
    "a final relu": lambda net, x: net.three(net.two(net.one(x).relu()).relu()).relu(),
    "a layer used twice": lambda net, x: net.three(net.two(net.two(net.one(x).relu()).relu()).relu()),
    "a layer not used": lambda net, x: net.three(net.one(x).relu()),
    "dropout": lambda net, x: net.three(functional.dropout(net.two(net.one(x).relu()).relu(), 0.5, net.training)),
    "a scaled input": lambda net, x: net.three(net.two(net.one(x * 2).relu()).relu()),
    "a scaled output": lambda net, x: net.three(net.two(net.one(x).relu()).relu()) * 2,
    "relu first": lambda net, x: net.three(net.two(net.one(x.relu()).relu()).relu()),
    "flatten from 0": lambda net, x: net.three(net.two(net.one(x.flatten()).relu()).relu()),
    "flatten to 2": lambda net, x: net.three(net.two(net.one(x.flatten(1, end_dim=2)).relu()).relu()),
    "flatten within": lambda net, x: net.three(net.two(net.one(x).relu().flatten(1)).relu()),
    "another order in training": lambda net, x: plain(net, x) if net.training else plain(net, x) * 2,
    "what looks at numbers": lambda net, x: plain(net, x) if x.sum() > 0 else plain(net, -x),
    "the input alone": lambda net, x: x,
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("training", [True, False])
def test_other_forwards_are_refused(case: str, training: bool) -> None:
    module = Functional(REFUSED[case]).train(training)
    assert perceptron_layers(module) is None
    assert all(part.training == training for part in module.modules())


def changed(change: Callable[[Any], Any]) -> nn.Module:
    module = Functional(plain)
    change(module)
    return module


def tied(net: Any) -> None:
    net.two.bias = net.one.bias


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a buffer": lambda net: net.register_buffer("mean", torch.zeros(1)),
    "a parameter besides": lambda net: net.register_parameter("gain", nn.Parameter(torch.ones(1))),
    "a frozen parameter": lambda net: net.two.bias.requires_grad_(False),
    "tied biases": tied,
    "a forward hook": lambda net: net.one.register_forward_hook(lambda *_: None),
    "a hook before": lambda net: net.register_forward_pre_hook(lambda *_: None),
    "a backward hook": lambda net: net.two.register_full_backward_hook(lambda *_: None),
    "a hook before backward": lambda net: net.two.register_full_backward_pre_hook(lambda *_: None),
    "a parameter's hook": lambda net: net.one.weight.register_hook(lambda grad: grad * 2),
    "a hook after a gradient": lambda net: net.one.weight.register_post_accumulate_grad_hook(lambda _: None),
    "half precision": lambda net: net.half(),
    "a parametrisation": lambda net: nn.utils.parametrizations.orthogonal(net.two),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_not_plain_is_refused(case: str) -> None:
    assert perceptron_layers(Functional(plain)) == THREE
    assert perceptron_layers(changed(CHANGES[case])) is None


@pytest.mark.parametrize(
    "part",
    [nn.Dropout(0.1), nn.BatchNorm1d(5), nn.Tanh(), nn.LeakyReLU(), nn.LayerNorm(5), nn.Unflatten(1, (5, 1))],
    ids=lambda part: type(part).__name__,
)
def test_other_parts_are_refused(part: nn.Module) -> None:
    assert perceptron_layers(nn.Sequential(nn.Linear(4, 5), part, nn.ReLU(), nn.Linear(5, 3))) is None
