"""Which layers of a network are faster sparse on this machine, and whether the network is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from overparam.networks.forward import record
from overparam.sparse import calibration
from overparam.sparse.calibration import Shape
from overparam.sparse.judge import AXES, Judgement
from overparam.sparse.perceptron import Layer

MARGIN = 1.05  # by how much sparse must be faster to be chosen: a wrong choice costs as much either way
POSITIONS = 64  # of convolutions in a network that is not run to find out


@dataclass(frozen=True)
class Choice:
    """Which weights of a network stay dense, and how much faster it is expected to train than with torch alone."""

    dense: tuple[str, ...]
    gain: float


def choose(
    module: nn.Module,
    masks: Mapping[str, Tensor],
    batch: int,
    sample: Tensor | None,
    perceptron: Sequence[Layer] | None,
    judgement: Judgement,
) -> Choice:
    """Compare engines for a network under its masks, layer by layer.

    ``perceptron`` are its layers if it is one that compiled epochs can train; else ``sample`` is an example (1, ...) to
    find out the sizes of images with. Only networks whose forward is known are run on it.
    """
    whole = judgement.unknown is None
    run = whole and not perceptron
    shapes = layer_shapes(module, sample, batch) if run else usual_shapes(module, batch)
    able = {f"{path}.weight".lstrip(".") for path, reason in judgement.layers.items() if reason is None}
    shapes = {name: shape for name, shape in shapes.items() if name in able}
    dense: list[str] = []
    torch_time = own_time = 0.0
    for place, (name, shape) in enumerate(shapes.items()):
        mask = masks.get(name)
        density = 1.0 if mask is None else np.count_nonzero(mask.numpy()) / max(mask.numel(), 1)
        times = calibration.measured(shape)
        torch_time += times.dense
        if perceptron:
            sparse, other = times.compiled(density), times.matrix
        elif whole:
            linear = not shape.axes
            sparse, other = times.sparse(density), times.dense + (0.0 if linear else times.border)
        else:  # each layer transposes for itself
            sparse, other = times.sparse(density) + times.border, times.dense
        if mask is None or other <= sparse * MARGIN:
            dense.append(name)
        own_time += min(sparse, other) if mask is not None else other
        if not perceptron and whole and place in (0, len(shapes) - 1):
            own_time += times.border / 2
    if not perceptron and len(dense) == len(shapes):
        return Choice(tuple(dense), 0.0)
    return Choice(tuple(dense), torch_time / (own_time * MARGIN) if own_time else 0.0)


def layer_shapes(module: nn.Module, sample: Tensor | None, batch: int) -> dict[str, Shape]:
    """Return the shape of each linear layer and convolution that ``sample`` (1, ...) reaches, by its weight's name."""
    if sample is None:
        return {}
    _, calls = record(module, sample, tuple(AXES))
    names = {id(part): path for path, part in module.named_modules()}
    found: dict[str, Shape] = {}
    for call in calls:
        sizes = (call.args[0] if call.args else call.kwargs["input"]).shape[2:]
        found[f"{names[id(call.layer)]}.weight"] = _shape(call.layer, sizes, batch)
    return found


def usual_shapes(module: nn.Module, batch: int) -> dict[str, Shape]:
    """Return the shape of each linear layer and convolution, by its weight's name, without running ``module``.

    Convolutions are taken to work on :data:`POSITIONS` positions, or on as many as their kernel needs.
    """
    found: dict[str, Shape] = {}
    for path, part in module.named_modules():
        axes = AXES.get(type(part))
        if axes is not None:
            layer: Any = part
            kernel = zip(layer.kernel_size, layer.dilation, strict=True) if axes else ()
            side = round(POSITIONS ** (1 / axes)) if axes else 0
            sizes = [max(side, dilation * (size - 1) + 1) for size, dilation in kernel]
            found[f"{path}.weight".lstrip(".")] = _shape(layer, sizes, batch)
    return found


def _shape(layer: Any, sizes: Sequence[int], batch: int) -> Shape:
    axes = () if isinstance(layer, nn.Linear) else tuple(_axes(layer, sizes))
    dtype = str(layer.weight.dtype).removeprefix("torch.")
    groups = getattr(layer, "groups", 1)
    return Shape(tuple(layer.weight.shape), axes, groups, batch, torch.get_num_threads(), dtype)


def _axes(layer: Any, sizes: Iterable[int]) -> Iterable[tuple[int, ...]]:
    for axis, size in enumerate(sizes):
        kernel, stride, dilation = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
        if layer.padding == "same":
            both = dilation * (kernel - 1)
            before, after = both // 2, both - both // 2
        else:
            before = after = 0 if layer.padding == "valid" else layer.padding[axis]
        yield (int(size), kernel, stride, before, after, dilation)
