"""Counts of weights against the papers' and against sums made on paper."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from overparam.networks import NETWORKS, prunable, tensor_roles

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def make(name: str, shape: tuple[int, ...], classes: int = 10, **options: object) -> nn.Module:
    return NETWORKS.get(name)(shape, classes, **options)


def weights(module: nn.Module) -> dict[str, int]:
    parameters = dict(module.named_parameters())
    return {name: parameters[name].numel() for name in prunable(tensor_roles(module))}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_lenet_300_100_counts() -> None:
    module = make("lenet-300-100", MNIST)
    assert list(weights(module).values()) == [235_200, 30_000, 1_000]
    assert sum(weights(module).values()) == 266_200
    assert parameters(module) == 266_610


def test_lenet_5_counts() -> None:
    module = make("lenet-5", MNIST)
    assert list(weights(module).values()) == [500, 25_000, 400_000, 5_000]
    assert sum(weights(module).values()) == 430_500
    assert parameters(module) == 430_500 + 20 + 50 + 500 + 10


def test_mlpnet_of_woodfisher_counts() -> None:
    module = make("mlp", MNIST, hidden=[40, 20], bias=False)
    assert list(weights(module).values()) == [31_360, 800, 200]
    assert parameters(module) == 32_360


@pytest.mark.parametrize(
    ("name", "conv", "linear", "total"),
    [
        ("conv-2", 38_592, 4_262_400, 4_300_992),
        ("conv-4", 259_776, 2_165_248, 2_425_024),
        ("conv-6", 1_144_512, 1_116_672, 2_261_184),
    ],
)
def test_lottery_ticket_convolutional_counts(name: str, conv: int, linear: int, total: int) -> None:
    counts = weights(make(name, CIFAR))
    convolutions = {layer: count for layer, count in counts.items() if layer.startswith("conv")}
    assert sum(convolutions.values()) == conv
    assert sum(counts.values()) - conv == linear
    assert sum(counts.values()) == total


def vgg_weights(channels: list[int], outputs: int) -> int:
    return sum(9 * fan_in * out for fan_in, out in zip([3, *channels], channels, strict=False)) + 512 * outputs


@pytest.mark.parametrize(
    ("name", "channels", "total"),
    [
        ("vgg-11", [64, 128, 256, 256, 512, 512, 512, 512], 9_222_848),
        ("vgg-16", [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6, 14_715_584),
        ("vgg-19", [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8, 20_024_000),
    ],
)
def test_vgg_counts(name: str, channels: list[int], total: int) -> None:
    module = make(name, CIFAR)
    assert sum(weights(module).values()) == vgg_weights(channels, 10) == total
    biases_and_norms = 3 * sum(channels) + 10  # a bias, a scale and a shift per channel
    assert parameters(module) == total + biases_and_norms


def test_resnet_20_counts() -> None:
    module = make("resnet-20", CIFAR)
    stem = 3 * 16 * 9
    stage1 = 6 * 16 * 16 * 9
    stage2 = 16 * 32 * 9 + 5 * 32 * 32 * 9
    stage3 = 32 * 64 * 9 + 5 * 64 * 64 * 9
    down_sampling, output = 16 * 32 + 32 * 64, 640  # 2,560 and 640: the ones the lottery ticket papers leave unpruned
    assert sum(weights(module).values()) == stem + stage1 + stage2 + stage3 + down_sampling + output == 270_896
    shortcuts = {layer: count for layer, count in weights(module).items() if "shortcut" in layer}
    assert sum(shortcuts.values()) == 2_560


@pytest.mark.parametrize(("name", "classes", "total"), [("resnet-18", 10, 11_173_962), ("resnet-50", 10, 23_520_842)])
def test_resnet_totals_of_the_cifar_forms(name: str, classes: int, total: int) -> None:
    assert parameters(make(name, CIFAR, classes)) == total


def test_resnet_18_for_100_classes() -> None:
    assert parameters(make("resnet-18", CIFAR, 100)) == 11_173_962 + 90 * 513


@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    hidden=st.lists(st.integers(1, 20), max_size=4),
    classes=st.integers(1, 12),
    bias=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_mlp_counts_for_any_widths(shape: tuple[int, ...], hidden: list[int], classes: int, bias: bool) -> None:
    sizes = [math.prod(shape), *hidden, classes]
    module = make("mlp", shape, classes, hidden=hidden, bias=bias)
    assert list(weights(module).values()) == [a * b for a, b in itertools.pairwise(sizes)]
    assert parameters(module) == sum(weights(module).values()) + (sum(sizes[1:]) if bias else 0)


@pytest.mark.parametrize("name", ["conv-4", "vgg-11", "resnet-18", "resnet-50", "resnet-20"])
def test_half_the_width_is_a_quarter_of_the_inner_weights(name: str) -> None:
    full, half = weights(make(name, CIFAR)), weights(make(name, CIFAR, width=0.5))
    layers = list(full)
    assert list(half) == layers
    assert all(4 * half[layer] == full[layer] for layer in layers[1:-1])
    assert 2 * half[layers[0]] == full[layers[0]]
    assert 2 * half["output.weight"] == full["output.weight"]


@pytest.mark.parametrize(("width", "expected"), [(0.001, [1, 1]), (0.33, [99, 33]), (0.005, [2, 1]), (2, [600, 200])])
def test_width_rounds_to_nearest_and_keeps_at_least_one_unit(width: float, expected: list[int]) -> None:
    module = make("lenet-300-100", (4,), width=width)
    assert [module.get_submodule(layer).out_features for layer in ("fc1", "fc2")] == expected


def test_resnet_18_of_width_k_over_64_has_k_channels_first() -> None:
    """The model-wise double descent papers count widths in channels of the first stage."""
    for k in (1, 3, 7, 64):
        module = make("resnet-18", CIFAR, width=k / 64)
        assert module.get_submodule("conv").out_channels == k
        assert module.get_submodule("output").in_features == 8 * k
