"""Conv-2, Conv-4 and Conv-6: the small VGGs of the Lottery Ticket Hypothesis (Frankle & Carbin, 2019)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from overparam.networks.architecture import Width, architecture, image_shape, scaled


@architecture("conv-2", init="glorot-normal", version=1)
def conv_2(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """Conv-2: two convolutions, three linear layers, 4,300,992 weights on CIFAR-10; from 2x2 pixels on."""
    return _build("conv-2", [64], input_shape, classes, width)


@architecture("conv-4", init="glorot-normal", version=1)
def conv_4(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """Conv-4: four convolutions, three linear layers, 2,425,024 weights on CIFAR-10; from 4x4 pixels on."""
    return _build("conv-4", [64, 128], input_shape, classes, width)


@architecture("conv-6", init="glorot-normal", version=1)
def conv_6(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """Conv-6: six convolutions, three linear layers, 2,261,184 weights on CIFAR-10; from 8x8 pixels on."""
    return _build("conv-6", [64, 128, 256], input_shape, classes, width)


def _build(name: str, stages: Sequence[int], input_shape: tuple[int, ...], classes: int, width: float) -> nn.Module:
    """Two convolutions and a 2x2 max pooling per stage, then linear layers of 256, 256 and ``classes`` units.

    ``width`` multiplies the channels and the 256s.
    """
    channels, height, side = image_shape(input_shape, name, smallest=2 ** len(stages))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, base in enumerate(stages):
        for number in (2 * stage + 1, 2 * stage + 2):
            layers[f"conv{number}"] = nn.Conv2d(channels, scaled(base, width), 3, padding=1)
            layers[f"relu{number}"] = nn.ReLU()
            channels = scaled(base, width)
        layers[f"pool{stage + 1}"] = nn.MaxPool2d(2)
        height, side = height // 2, side // 2
    hidden = scaled(256, width)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(channels * height * side, hidden)
    layers["fc_relu1"] = nn.ReLU()
    layers["fc2"] = nn.Linear(hidden, hidden)
    layers["fc_relu2"] = nn.ReLU()
    layers["output"] = nn.Linear(hidden, classes)
    return nn.Sequential(layers)
