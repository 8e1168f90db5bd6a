"""VGG in its CIFAR form, as in open_lth and Sparse Double Descent: batch norm, a single linear layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from overparam.networks.architecture import Width, architecture, image_shape, scaled

CHANNELS = (64, 128, 256, 512, 512)  # of the five stages; a 2x2 max pooling stands between two stages
SMALLEST = 2 ** (len(CHANNELS) - 1)


@architecture("vgg-11", init="kaiming-normal", version=1)
def vgg_11(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """VGG-11: 8 convolutions, one linear layer, 9.2M weights on CIFAR-10; from 16x16 pixels on."""
    return _build("vgg-11", (1, 1, 2, 2, 2), input_shape, classes, width)


@architecture("vgg-16", init="kaiming-normal", version=1)
def vgg_16(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """VGG-16: 13 convolutions, one linear layer, 14.7M weights on CIFAR-10; from 16x16 pixels on."""
    return _build("vgg-16", (2, 2, 3, 3, 3), input_shape, classes, width)


@architecture("vgg-19", init="kaiming-normal", version=1)
def vgg_19(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """VGG-19: 16 convolutions, one linear layer, 20.0M weights on CIFAR-10; from 16x16 pixels on."""
    return _build("vgg-19", (2, 2, 4, 4, 4), input_shape, classes, width)


def _build(name: str, depths: Sequence[int], input_shape: tuple[int, ...], classes: int, width: float) -> nn.Module:
    """3x3 convolutions (with biases, as in open_lth) by stage, the mean over all pixels, one linear layer.

    At 32x32 pixels that mean is the 2x2 average pooling of the papers' code; other sizes work as well.
    """
    channels, _, _ = image_shape(input_shape, name, SMALLEST)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, (depth, base) in enumerate(zip(depths, CHANNELS, strict=True), start=1):
        if stage > 1:
            layers[f"pool{stage - 1}"] = nn.MaxPool2d(2)
        for number in range(1, depth + 1):
            layers[f"conv{stage}_{number}"] = nn.Conv2d(channels, scaled(base, width), 3, padding=1)
            channels = scaled(base, width)
            layers[f"norm{stage}_{number}"] = nn.BatchNorm2d(channels)
            layers[f"relu{stage}_{number}"] = nn.ReLU()
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)
