"""Operations on batch-last tiles: what stands between the sparse layers of a network.

Each takes and returns :class:`Tiles` and means what torch's operation of the same name means on the batch-first tensor.
Most of them are torch's own operation on another view of the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.sparse.kernels.structure import Indices
from overparam.sparse.layers.autograd import sparse_chain
from overparam.sparse.layers.fused import Borders
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.layers.layout import to_batch_first, to_batch_last
from overparam.sparse.layers.tracing import is_differentiated, is_traced, uncompiled


class Tiles:
    """A batch-last value.

    Attributes:
        data: (tiles, *positions, features, width); example ``tile * width + column`` of the batch.
        channels: None if ``features`` are in their usual order; else they are those of a flattened image of so many
            channels and come position by position, where torch has channel by channel. Only with no positions left.
    """

    __slots__ = ("channels", "data")

    def __init__(self, data: Tensor, channels: int | None = None) -> None:
        self.data = data
        self.channels = channels

    @property
    def rank(self) -> int:
        """Number of dimensions of the batch-first tensor."""
        return self.data.dim() - 1

    @property
    def shape(self) -> torch.Size:
        """Shape of the batch-first tensor."""
        tiles, *positions, features, width = self.data.shape
        return torch.Size((tiles * width, features, *positions))


def to_tiles(inputs: Tensor, width: int | None = None) -> Tiles:
    """Return the batch-first tensor (batch, features, *positions) as tiles, of this ``width`` or the usual one."""
    return Tiles(to_batch_last(inputs, width))


def to_first(tiles: Tiles) -> Tensor:
    """Return the batch-first tensor (batch, features, *positions), features in their usual order."""
    data = tiles.data
    if tiles.channels is not None:
        data = _split(data, 1, (-1, tiles.channels))
    first = to_batch_first(data)
    return first if tiles.channels is None else first.flatten(1)


def natural(tiles: Tiles) -> Tiles:
    """Return the same value with its features in their usual order."""
    if tiles.channels is None:
        return tiles
    return Tiles(_split(tiles.data, 1, (-1, tiles.channels)).transpose(1, 2).flatten(1, 2))


def _split(data: Tensor, dim: int, sizes: tuple[int, int]) -> Tensor:
    """Return a view with one dimension as two."""
    found: Tensor = data.unflatten(dim, sizes)  # type: ignore[no-untyped-call]
    return found


@cache
def flattened_order(channels: int, features: int) -> Indices:
    """Return for each column of a weight the row that holds it after :func:`flatten`, one array for each argument."""
    return np.arange(features).reshape(-1, channels).T.ravel()


@uncompiled
def apply_layers(
    layers: Sequence[SparseLayer], relus: Sequence[bool], first: bool, inputs: Tiles | Tensor
) -> Tiles | Tensor:
    """Apply sparse layers one after another, with a ReLU after some of them; return a batch-first tensor if ``first``.

    ``inputs`` are (batch, features) for linear layers and (batch, channels, *positions) for convolutions.
    """
    order = None
    if isinstance(inputs, Tiles):
        data, shape = inputs.data, tuple(inputs.data.shape[1:-1])
        if inputs.channels is not None:
            order = flattened_order(inputs.channels, shape[0])
    else:
        rank = len(layers[0].shape)
        if inputs.dim() != rank:
            kind = "a linear layer" if rank == 2 else "this convolution"
            raise SpecError(
                f"the network was converted for inputs of {kind} with {rank} dimensions (batch, features, ...), got "
                f"shape {tuple(inputs.shape)}; if these are meant, call convert with such inputs as example=..."
            )
        data, shape = inputs, (*inputs.shape[2:], inputs.shape[1])
    links = []
    for layer, relu in zip(layers, relus, strict=True):
        links.append(layer.link(shape, order, relu))
        shape, order = links[-1].structure.output, None
    out = sparse_chain(data, links, Borders(not isinstance(inputs, Tiles), first))
    return out if first else Tiles(out)


@uncompiled
def dense_linear(module: nn.Linear, inputs: Tiles) -> Tiles:
    """Apply a dense linear layer to (batch, features)."""
    data, weight, bias = natural(inputs).data, module.weight, module.bias
    if is_traced() or torch.is_autocast_enabled("cpu"):
        return Tiles(F.linear(data.transpose(1, 2), weight, bias).transpose(1, 2))
    out: Tensor = _DenseLinear.apply(data, weight, bias)  # type: ignore[no-untyped-call]
    return Tiles(out)


class _DenseLinear(torch.autograd.Function):
    """Tile by tile: torch's batched product would make a weight's gradient for each tile and add them up."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        out = inputs.new_empty(len(inputs), len(weight), inputs.shape[-1])
        for tile, target in zip(inputs, out, strict=True):
            if bias is None:
                torch.mm(weight, tile, out=target)
            else:
                torch.addmm(bias[:, None], weight, tile, out=target)
        return out

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        if is_differentiated(errors):
            return weight.t() @ errors, (errors @ inputs.transpose(1, 2)).sum(0), errors.sum((0, 2))
        to_inputs = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_inputs = errors.new_empty(inputs.shape)
            for error, target in zip(errors, to_inputs, strict=True):
                torch.mm(weight.t(), error, out=target)
        if ctx.needs_input_grad[1]:
            to_weight = torch.zeros_like(weight)
            for error, tile in zip(errors, inputs, strict=True):
                to_weight.addmm_(error, tile.t())
        if ctx.needs_input_grad[2]:
            to_bias = errors.sum((0, 2))
        return to_inputs, to_weight, to_bias


def elementwise(function: Callable[..., Tensor], *args: Tiles | Tensor) -> Tiles:
    """Apply an elementwise function of one or more arguments of one shape, at least one of them tiles."""
    if len(args) == 1 and isinstance(args[0], Tiles):
        return Tiles(function(args[0].data), args[0].channels)
    like = next(value for value in args if isinstance(value, Tiles))
    channels = like.channels
    if any(not isinstance(value, Tiles) or value.channels != channels for value in args):
        channels, like = None, natural(like)

    def ready(value: Tiles | Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return to_tiles(value, like.data.shape[-1]).data
        return _same_width(value if channels is not None else natural(value), like).data

    return Tiles(function(*map(ready, args)), channels)


def _same_width(tiles: Tiles, like: Tiles) -> Tiles:
    """Return tiles of the width of ``like``, features as they were; another width comes from another dtype."""
    width = like.data.shape[-1]
    if tiles.data.shape[-1] == width:
        return tiles
    return Tiles(to_tiles(to_first(Tiles(tiles.data)), width).data, tiles.channels)


def batch_norm(module: Callable[[Tensor], Tensor], inputs: Tiles) -> Tiles:
    """Apply a batch norm module, in training or evaluation: its statistics are over tiles, positions and columns."""
    return _by_channel(module, inputs, flat=not isinstance(module, nn.BatchNorm2d))


def prelu(module: Callable[[Tensor], Tensor], inputs: Tiles) -> Tiles:
    """Apply an nn.PReLU."""
    return _by_channel(module, inputs, flat=True)


def _by_channel(module: Callable[[Tensor], Tensor], inputs: Tiles, flat: bool) -> Tiles:
    """Apply what treats (batch, channels, positions) alike over batch and positions to these as it finds them."""
    data = natural(inputs).data
    view = data.flatten(0, -3)
    out = module(view if flat else view[..., None])
    return Tiles(out.reshape(data.shape))


def layer_norm(module: nn.LayerNorm, inputs: Tiles) -> Tiles:
    """Apply a layer norm over all dimensions but the batch."""
    inputs = natural(inputs)
    if inputs.shape[1:] != module.normalized_shape:
        raise SpecError(f"{module} got inputs of shape {tuple(inputs.shape)}, which do not end in that shape")
    return Tiles(
        _normed(inputs.data, tuple(range(1, inputs.rank)), module, lambda each: each.movedim(0, -1)[..., None])
    )


def group_norm(module: nn.GroupNorm, inputs: Tiles) -> Tiles:
    """Apply a group norm."""
    data = _split(natural(inputs).data, -2, (module.num_groups, -1))
    dims = (*range(1, data.dim() - 3), data.dim() - 2)
    out = _normed(data, dims, module, lambda each: _split(each, 0, (module.num_groups, -1))[..., None])
    return Tiles(out.flatten(-3, -2))


def _normed(
    data: Tensor, dims: tuple[int, ...], module: nn.LayerNorm | nn.GroupNorm, placed: Callable[[Tensor], Tensor]
) -> Tensor:
    variance, mean = torch.var_mean(data, dims, correction=0, keepdim=True)
    out = (data - mean) * torch.rsqrt(variance + module.eps)
    if module.weight is not None:
        out = out * placed(module.weight)
    return out if module.bias is None else out + placed(module.bias)


def pool(module: Callable[[Tensor], Tensor], inputs: Tiles) -> Tiles:
    """Apply a pooling module to (batch, channels, *positions).

    Channels and columns of a tile together are the channels of a batch-first tensor in torch's channels-last format,
    which torch pools as it is, without a copy.
    """
    *_, channels, width = inputs.data.shape
    out = module(inputs.data.flatten(-2).movedim(-1, 1))
    return Tiles(_split(out.movedim(1, -1), -1, (channels, width)))


def softmax(module: Callable[[Tensor], Tensor], inputs: Tiles, dim: int) -> Tiles:
    """Apply an nn.Softmax or nn.LogSoftmax over ``dim`` (from 1 up)."""
    function = torch.softmax if isinstance(module, nn.Softmax) else torch.log_softmax
    return Tiles(function(inputs.data, inputs.rank - 1 if dim == 1 else dim - 1), inputs.channels)


def flatten(inputs: Tiles) -> Tiles:
    """Return (batch, features) of (batch, channels, *positions), without a copy."""
    channels = inputs.data.shape[-2]
    if inputs.rank == 2:
        return inputs
    data = inputs.data.flatten(1, -2)
    return Tiles(data, channels if 1 < channels < data.shape[1] else None)


def dropout(module: nn.Dropout | nn.Dropout1d | nn.Dropout2d, inputs: Tiles) -> Tiles:
    """Apply an nn.Dropout, nn.Dropout1d or nn.Dropout2d, drawing what torch would for the batch-first tensor."""
    p = module.p
    if not module.training or p == 0:
        return inputs
    batch, features, *positions = inputs.shape
    one = inputs.data.new_ones(())
    if isinstance(module, nn.Dropout):
        kept = F.dropout(one.expand(batch, features, *positions).contiguous(), p, True)
        if inputs.channels is not None:
            kept = _split(kept, 1, (inputs.channels, -1))
    else:
        function = F.dropout1d if isinstance(module, nn.Dropout1d) else F.dropout2d
        kept = function(one.expand(batch, features, *[1] * len(positions)).contiguous(), p, True)
    mask = to_tiles(kept, inputs.data.shape[-1]).data
    if inputs.channels is not None:
        mask = mask.flatten(1, 2)
    return Tiles(inputs.data * mask, inputs.channels)
