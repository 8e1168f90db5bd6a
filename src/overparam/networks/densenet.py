"""Densely connected networks for small images (Huang, Liu, van der Maaten & Weinberger, CVPR 2017, 1608.06993)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks.architecture import Size, Width, architecture, image_shape, scaled

BLOCKS = 3
BOTTLENECK = 4  # channels of the 1x1 convolution before a 3x3 one, in growth rates
FEWEST = 2 ** (BLOCKS - 1)


@architecture("densenet", init="kaiming-normal", version=1)
def densenet(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    growth: Size = 12,
    depth: Size = 40,
    bottleneck: bool = True,
    width: Width = 1.0,
) -> nn.Module:
    """DenseNet-BC: three blocks whose layers read all before them, 171,024 weights on CIFAR-10; from 4x4 pixels on.

    Args:
        growth: channels that each layer adds.
        depth: convolutions and the linear layer, counted as the paper does: 40, 100, ...
        bottleneck: without it, it is the paper's plain form: no 1x1 convolutions, no channels lost between blocks.
        width: multiplies the growth rate.

    Example:
        {densenet: {depth: 22, growth: 8}}
    """
    channels, _, _ = image_shape(input_shape, "densenet", FEWEST)
    growth = scaled(growth, width)
    each, rest = divmod(depth - BLOCKS - 1, BLOCKS * (2 if bottleneck else 1))
    if each < 1 or rest:
        step = BLOCKS * (2 if bottleneck else 1)
        form = "with" if bottleneck else "without"
        raise SpecError(
            f"options.depth: a densenet {form} bottleneck has {BLOCKS + 1} layers and a multiple of {step}, such as "
            f"{BLOCKS + 1 + 6 * step}, got {depth}"
        )
    wide = 2 * growth if bottleneck else 16
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(channels, wide, 3, padding=1, bias=False))
    for number in range(1, BLOCKS + 1):
        layers[f"block{number}"] = Block(wide, growth, each, bottleneck)
        wide += each * growth
        if number < BLOCKS:
            layers[f"transition{number}"] = _transition(wide, narrow := wide // 2 if bottleneck else wide)
            wide = narrow
    layers |= {
        "norm": nn.BatchNorm2d(wide),
        "relu": nn.ReLU(),
        "mean": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    layers["output"] = nn.Linear(wide, classes)
    return nn.Sequential(layers)


class Block(nn.Module):
    """Layers that each read the input and what all before made: ``(N, C, H, W) -> (N, C + layers * growth, H, W)``."""

    def __init__(self, channels: int, growth: int, layers: int, bottleneck: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(channels + n * growth, growth, bottleneck) for n in range(layers))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the input and what each layer made, side by side."""
        for layer in self.layers:
            inputs = torch.cat([inputs, layer(inputs)], 1)
        return inputs


def _layer(channels: int, growth: int, bottleneck: bool) -> nn.Sequential:
    inner = BOTTLENECK * growth
    first = [
        ("squeeze", nn.Conv2d(channels, inner, 1, bias=False)),
        ("norm2", nn.BatchNorm2d(inner)),
        ("relu2", nn.ReLU()),
    ]
    last = nn.Conv2d(inner if bottleneck else channels, growth, 3, padding=1, bias=False)
    before: list[tuple[str, nn.Module]] = [("norm1", nn.BatchNorm2d(channels)), ("relu1", nn.ReLU())]
    return nn.Sequential(OrderedDict([*before, *(first if bottleneck else []), ("conv", last)]))


def _transition(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            conv=nn.Conv2d(channels, outputs, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )
