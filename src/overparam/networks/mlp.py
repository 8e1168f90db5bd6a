"""Fully connected networks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from overparam.networks.architecture import Size, Width, architecture, scaled


@architecture("mlp", init="kaiming-normal", version=1)
def mlp(
    input_shape: tuple[int, ...],
    outputs: tuple[int, ...],
    *,
    hidden: tuple[Size, ...] = (300, 100),
    bias: bool = True,
    norm: Literal["batch"] | None = None,
) -> nn.Module:
    """MLP: fully connected with ReLU, any widths (hidden: [300, 100]), flattens any input.

    Args:
        hidden: units of each hidden layer. ``[]`` is a linear model; a narrow layer makes an autoencoder where the task
            is to give back the input.
        bias: without, no layer has biases, as in the MLPNet of WoodFisher (Singh & Alistarh, 2020), which is
            ``hidden=[40, 20], bias=False``.
        norm: ``batch`` puts a batch norm before each ReLU, as in the perceptron of Network Slimming (Liu et al., 2017).

    Example:
        {mlp: {hidden: [100, 100], norm: batch}}
    """
    module = fully_connected(math.prod(input_shape), hidden, math.prod(outputs), bias, norm == "batch")
    if len(outputs) > 1:
        module.add_module("shape", nn.Unflatten(1, outputs))
    return module


@architecture("lenet-300-100", init="kaiming-normal", version=1)
def lenet_300_100(input_shape: tuple[int, ...], classes: int, *, width: Width = 1.0) -> nn.Module:
    """LeNet-300-100: fully connected, 266,200 weights on MNIST.

    Two hidden layers of 300 and 100 ReLU units (LeCun et al., 1998), each times ``width``. Sparse Double
    Descent initialises it ``kaiming-normal`` (the default), the Lottery Ticket Hypothesis ``glorot-normal``.
    """
    return fully_connected(math.prod(input_shape), [scaled(300, width), scaled(100, width)], classes)


def fully_connected(
    inputs: int, hidden: Sequence[int], outputs: int, bias: bool = True, norms: bool = False
) -> nn.Sequential:
    """Return ``flatten, fc1, relu1, fc2, relu2, ..., output``, with ``norms`` a batch norm before each ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, units in enumerate(hidden, start=1):
        layers[f"fc{number}"] = nn.Linear(inputs, units, bias)
        if norms:
            layers[f"norm{number}"] = nn.BatchNorm1d(units)
        layers[f"relu{number}"] = nn.ReLU()
        inputs = units
    layers["output"] = nn.Linear(inputs, outputs, bias)
    return nn.Sequential(layers)
