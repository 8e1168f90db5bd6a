"""LeNet-5, as the pruning literature uses it."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from overparam.networks.architecture import Width, architecture, image_shape, scaled

SMALLEST = 16  # (16 - 4) / 2 = 6, (6 - 4) / 2 = 1


@architecture("lenet-5", init="glorot-normal", version=1)
def lenet_5(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """LeNet-5: Caffe's variant (20-50-500), 430,500 weights on MNIST; from 16x16 pixels on.

    Two 5x5 convolutions without padding, each followed by 2x2 max pooling, then a hidden layer of 500 units.
    The only ReLU is the one after the hidden layer, as in Caffe's file. ``width`` multiplies 20, 50 and 500.
    """
    channels, height, side = image_shape(input_shape, "lenet-5", SMALLEST)
    first, second, hidden = (scaled(base, width) for base in (20, 50, 500))
    pixels = ((height - 4) // 2 - 4) // 2 * (((side - 4) // 2 - 4) // 2)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, first, 5),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 5),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(second * pixels, hidden),
            relu1=nn.ReLU(),
            output=nn.Linear(hidden, classes),
        )
    )
