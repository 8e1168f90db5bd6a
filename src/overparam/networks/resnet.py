"""Residual networks (He et al., 2016) in their CIFAR forms."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from overparam.networks.architecture import Width, architecture, image_shape, scaled


@architecture("resnet-20", init="kaiming-normal", version=1)
def resnet_20(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """ResNet-20: the CIFAR form (channels 16-32-64), 270,896 weights on CIFAR-10.

    With 1x1 convolutions on the shortcuts that change shape, as in open_lth; the lottery ticket papers call
    it "ResNet-18".
    """
    return _build("resnet-20", Basic, (3, 3, 3), 16, input_shape, classes, width)


@architecture("resnet-18", init="kaiming-normal", version=1)
def resnet_18(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """ResNet-18: ImageNet's with a 3x3 stem for CIFAR (channels 64-512), 11.2M weights on CIFAR-10."""
    return _build("resnet-18", Basic, (2, 2, 2, 2), 64, input_shape, classes, width)


@architecture("resnet-50", init="kaiming-normal", version=1)
def resnet_50(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """ResNet-50: ImageNet's with a 3x3 stem for CIFAR (channels 64-2048), 23.5M weights on CIFAR-10."""
    return _build("resnet-50", Bottleneck, (3, 4, 6, 3), 64, input_shape, classes, width)


def _build(
    name: str,
    block: type[Basic] | type[Bottleneck],
    depths: Sequence[int],
    first: int,
    input_shape: tuple[int, ...],
    classes: int,
    width: float,
) -> nn.Module:
    """A 3x3 stem, one stage of blocks per depth, the mean over all pixels, one linear layer.

    Channels double from stage to stage, starting at ``first``, and pixels halve; ``width`` multiplies the
    channels.
    """
    channels, _, _ = image_shape(input_shape, name)
    inner = scaled(first, width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(channels, inner, 3, padding=1, bias=False), norm=nn.BatchNorm2d(inner), relu=nn.ReLU()
    )
    channels = inner
    for stage, depth in enumerate(depths, start=1):
        inner = scaled(first * 2 ** (stage - 1), width)
        blocks = []
        for number in range(depth):
            blocks.append(block(channels, inner, stride=2 if stage > 1 and number == 0 else 1))
            channels = inner * block.expansion
        layers[f"stage{stage}"] = nn.Sequential(*blocks)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)


def _shortcut(channels: int, outputs: int, stride: int) -> nn.Sequential:
    """Return the identity where shapes agree, else a 1x1 convolution with batch norm."""
    if stride == 1 and channels == outputs:
        return nn.Sequential()
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(channels, outputs, 1, stride=stride, bias=False), norm=nn.BatchNorm2d(outputs))
    )


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut: ``(N, channels, H, W) -> (N, inner, H / stride, W / stride)``."""

    expansion = 1

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.shortcut = _shortcut(channels, inner, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``relu(branch(inputs) + shortcut(inputs))``."""
        out = F.relu(self.norm1(self.conv1(inputs)))
        out = self.norm2(self.conv2(out))
        return F.relu(out + self.shortcut(inputs))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the stride sits on the 3x3 one, as in torchvision.

    ``(N, channels, H, W) -> (N, 4 * inner, H / stride, W / stride)``.
    """

    expansion = 4

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, inner * self.expansion, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(inner * self.expansion)
        self.shortcut = _shortcut(channels, inner * self.expansion, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``relu(branch(inputs) + shortcut(inputs))``."""
        out = F.relu(self.norm1(self.conv1(inputs)))
        out = F.relu(self.norm2(self.conv2(out)))
        out = self.norm3(self.conv3(out))
        return F.relu(out + self.shortcut(inputs))
